"""The OpenAI Images API on the user's own weights: requests, jobs, access and safety."""
