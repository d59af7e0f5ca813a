"""Tools for datasets: looking into them, finding what spoils training, putting them together and apart."""
