"""A month of a large training job that crashes: what is lost to detection, diagnosis and isolation, starting anew, and work since the last checkpoint."""
