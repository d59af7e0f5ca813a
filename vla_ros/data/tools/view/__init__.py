"""Looking at a dataset: one HTML page with plots and videos, and a Rerun recording."""
