"""The nn.Modules: they know nothing of noise schedules, files or prompts."""
