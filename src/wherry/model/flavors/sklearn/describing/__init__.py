"""From a fitted estimator and a sample to a signature. At pack only: serving never imports this."""
