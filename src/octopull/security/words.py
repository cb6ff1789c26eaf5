"""What went wrong between two sides of TLS, said so that an operator knows what to do."""

import ssl

_VERIFYING = {
    2: "its certificate is of another authority than ours",
    9: "its certificate does not count yet; compare the clocks",
    10: "its certificate has expired: octopull certs rotate",
    18: "its certificate is of no authority but its own",
    19: "its certificate is of another authority than ours",
    20: "its certificate is of another authority than ours",
    21: "its certificate is of another authority than ours",
}
"""By OpenSSL's X509_V_ERR_... numbers."""

_REASONS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority of our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired: octopull certs rotate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it refuses our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of the cluster, and got none",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks HTTP in clear",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS 1.3",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS 1.3",
}


def explain(error: BaseException) -> str | None:
    """Why TLS failed, if that is what ``error`` or what caused it tells; None otherwise.

    "It" is the other side.
    """
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        # aiohttp keeps the cause of some of its errors in a field, and calls them SSL errors, too.
        for one in (getattr(found, "certificate_error", None), getattr(found, "os_error", None),
                    found):  # fmt: skip
            if isinstance(one, ssl.SSLError) and (told := _explain(one)):
                return told
        found = found.__cause__ or found.__context__
    return None


def _explain(error: ssl.SSLError) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", 0)
        said = getattr(error, "verify_message", None) or str(error.args[-1])
        return _VERIFYING.get(code) or f"its certificate is not the one expected: {said}"
    return _REASONS.get(getattr(error, "reason", None) or "")
