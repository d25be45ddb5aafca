"""How one trial learns. Imports torch; knows nothing of ray, Optuna or where results are kept."""
