"""A policy built from this package's parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vla_ros.action import ActionChunk
from vla_ros.contract import Contract
from vla_ros.errors import ObservationError
from vla_ros.observation import Observation
from vla_ros.policy.base import Capabilities
from vla_ros.policy.config import PolicyConfig
from vla_ros.policy.model import ActionModel
from vla_ros.policy.normaliser import Normaliser
from vla_ros.policy.preprocess import Preprocess, batch_of_one
from vla_ros.policy.targets import Anchors, Targets
from vla_ros.tokens import Tokens

ACTION = "action"


class NativePolicy:
    """observation -> array steps -> tensor steps -> network -> targets -> chunk."""

    def __init__(
        self,
        config: PolicyConfig,
        contract: Contract,
        model: ActionModel,
        normaliser: Normaliser,
        device: torch.device,
    ) -> None:
        self.config = config
        self.model = model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._contract = contract
        self._device = device
        self.normaliser = normaliser.to(device)
        self._preprocess = Preprocess(config, contract, self.normaliser)
        self._targets = Targets(config.targets, contract).to(device)
        self._anchors = Anchors(config.targets, contract)
        self._sequence = 0

    @property
    def contract(self) -> Contract:
        """The contract the policy was trained with."""
        return self._contract

    @property
    def capabilities(self) -> Capabilities:
        """What the policy reads and gives."""
        keys = tuple(s.key for s in self._preprocess.streams)
        return Capabilities(
            inputs=keys,
            optional=tuple(k for k in keys if k in self._preprocess.optional and k != self._contract.state.key),
            space=self._contract.action.space,
            chunk=self.config.chunk,
            dt=1.0 / self._contract.rate,
            language=self.model.text is not None,
            relative=self._targets.relative,
        )

    def tensors(self, values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the network's inputs, a batch of one, for the values of some streams."""
        steps = self._preprocess.array_steps
        return self._preprocess.tensors(batch_of_one({k: steps[k](v) for k, v in values.items()}, self._device))

    def reset(self) -> None:
        """Begin a new trial: chunks are numbered from zero. The network itself keeps nothing between
        observations."""
        self._sequence = 0

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for an observation, whose streams may come as tokens (see `vla_ros.policy.edge`).

        Raises ObservationError if a needed stream is missing or invalid.
        """
        follows = self._anchors.key
        if follows in self._contract.observation and follows in observation.invalid:
            raise ObservationError(f"the policy's targets need '{follows}': {observation.invalid[follows]}")
        arrays = self._preprocess.arrays(observation.values, observation.invalid)
        state = np.asarray(observation.values[self._contract.state.key], dtype=np.float32)
        anchors = torch.from_numpy(self._anchors(lambda key: np.asarray(observation.values[key])[None]))
        with torch.inference_mode():
            inputs = self._preprocess.tensors(batch_of_one(arrays, self._device))
            tokens = {
                key: torch.from_numpy(value.values).to(self._device).unsqueeze(0)
                for key, value in observation.values.items()
                if isinstance(value, Tokens) and key not in observation.invalid
            }
            targets = self.normaliser.restore(ACTION, self.model.sample(inputs, tokens))
            actions = self._targets.decode(targets, anchors.to(self._device))
        values = actions[0].double().cpu().numpy()
        self._sequence += 1
        spec = self._contract.action
        return ActionChunk(
            values=values,
            names=spec.names,
            space=spec.space,
            stamp=observation.stamp,
            dt=1.0 / self._contract.rate,
            frame=spec.frame if spec.space == "ee_pose" else "",
            base_state=state.astype(np.float64),
            task=str(observation.values.get(self.model.text or "", "")),
            sequence=self._sequence - 1,
        )
