"""What can go wrong, told in one line each."""


class StartProblem(Exception):
    """Why the server cannot start: one line for the log; exit status 1."""


class RequestProblem(Exception):
    """Why a request gets no prediction: the HTTP status and one sentence for whoever sent it."""

    def __init__(self, status, message, headers=()):
        super().__init__(message)
        self.status = status
        self.headers = headers
