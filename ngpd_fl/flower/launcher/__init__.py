"""The launcher's process: starts a SuperLink where needed, submits a run and follows it."""
