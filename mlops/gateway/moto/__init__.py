"""The services that the gateway has no code of its own for, answered by moto in this process.

``allow_list`` says what is answered, what is refused and why (``allowed.toml``); ``requests`` finds
out what a request asks for; ``world`` has moto answer it, one request at a time; ``journal`` keeps
what was acknowledged, which ``world`` carries out again after a start; ``adapting`` holds moto's
clock and randomness still, so that it comes to the same. ``face`` and ``iam`` are the WSGI side.

moto is imported with the first request that needs it: it takes seconds. It is called as a library;
nothing of boto3 or botocore is patched.
"""
