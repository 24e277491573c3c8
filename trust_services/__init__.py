"""CA, OCSP responder and TSA of the sandbox and tests; not for production."""
