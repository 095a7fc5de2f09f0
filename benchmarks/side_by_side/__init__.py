"""The same job, done by this project and by tools that a user might pick instead."""
