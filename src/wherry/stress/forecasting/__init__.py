"""What an autoscaled deployment would do under a traffic trace: the autoscaler's own rules, simulated. Pure."""
