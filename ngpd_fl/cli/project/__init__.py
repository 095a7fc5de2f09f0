"""The files that ``ngpd-fl new`` copies; nothing here is imported."""
