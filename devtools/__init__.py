"""Set-up, doctor, live host and API client. Standard library only: they run before anything is installed."""
