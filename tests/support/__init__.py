"""What tests use that stands in for something this machine does not have."""
