"""Where a picture of a gel shows contact."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

SMALLEST = 40  # [px] of an area of contact
BLUR = 1.5  # [px] against the camera's noise


def contact_mask(difference: npt.NDArray[np.floating], threshold: float = 8.0) -> npt.NDArray[np.bool_]:
    """Return where a difference image [H, W, 3] (grey levels) differs by `threshold` or more in any colour, [H, W].

    Specks of less than 40 pixels are no contact; holes are filled, as a flat object's middle reflects like the gel at rest.
    """
    red, green, blue = cv2.split(np.abs(cv2.GaussianBlur(difference.astype(np.float32), (0, 0), BLUR)))
    strong = cv2.max(cv2.max(red, green), blue) >= threshold
    outlines, _ = cv2.findContours(strong.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    large = [outline for outline in outlines if cv2.contourArea(outline) >= SMALLEST]
    mask = cv2.drawContours(np.zeros(strong.shape, dtype=np.uint8), large, -1, 1, cv2.FILLED)
    return np.asarray(mask.astype(bool))
