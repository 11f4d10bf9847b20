"""Secured connections to a foreign OPC UA server: each policy and mode, each kind of user, and every certificate that is no good."""

import datetime
import shutil
import signal
import time

import foreign
from restarts import follows
from stage import claim, free_port, wait_until

POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES = {"sign": "Sign", "sign_and_encrypt": "SignAndEncrypt"}
SERVER_URI = "urn:freeopcua:python:server"
DAY = datetime.timedelta(days=1)


def certificate(folder, name, uri=SERVER_URI, hosts=("127.0.0.1",), days=(-1, 365)):
    """A self-signed certificate (DER) and its key (PEM)."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts]
    usage = dict.fromkeys(("crl_sign", "encipher_only", "decipher_only", "key_agreement", "key_cert_sign"), False)
    usage |= dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), True)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        # Hosts before the URI: vendors do not keep the usual order.
        .add_extension(x509.SubjectAlternativeName([*names, x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    der, pem = folder / f"{name}.der", folder / f"{name}.pem"
    der.write_bytes(built.public_bytes(serialization.Encoding.DER))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(key.private_bytes(*encoding))
    return der, pem


class Secured:
    """A server with users and a validator, and a folder for the daemon's side of it."""

    def __init__(self, house, name):
        house.needs("asyncua")
        house.needs("cryptography")
        self.house, self.folder = house, house.folder(name)
        self.pki, self.log = self.folder / "pki", self.folder / "daemon.log"
        self.good = certificate(self.folder, "good")
        self.known_clients, self.is_choosy = set(), False
        self.server = foreign.Foreign(free_port(), seed=1).start(self.prepare)
        house.afterwards(self.server.stop)
        (self.folder / "password").write_text("secret\n")

    async def prepare(self, server):
        from asyncua import ua
        from asyncua.crypto.permission_rules import User, UserRole
        from asyncua.server.user_managers import UserManager
        from asyncua.common.utils import ServiceError

        class Users(UserManager):
            def get_user(inner, iserver, username=None, password=None, certificate=None):
                if username is not None:
                    return User(role=UserRole.Admin) if (username, password) == ("line", "secret") else None
                return User(role=UserRole.Admin)

        async def validate(certificate, description):
            if self.is_choosy:
                raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

        server.iserver.user_manager = Users()
        server.set_identity_tokens([ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken])
        server.set_certificate_validator(validate)
        await server.load_certificate(self.good[0])
        await server.load_private_key(self.good[1])
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])

    def run(self, *keys):
        lines = "\n".join(('mode = "subscribe"', "poll_ms = 10", f'pki_dir = "{self.pki}"', *keys))
        config = foreign.write_config(self.folder, self.server.port, lines)
        code, out, err = self.house.run("check", "--config", config)
        claim(code == 0, f"check: {out}{err}")
        self.process = self.house.start("run", "--config", config, log=self.log)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        claim(self.process.wait(20) == 0, "the daemon does not stop in order")

    def trust(self, der):
        (self.pki / "trusted").mkdir(parents=True, exist_ok=True)
        shutil.copy(der, self.pki / "trusted" / der.name)

    def forget_all(self):
        for shelf in ("trusted", "pending", "rejected"):
            shutil.rmtree(self.pki / shelf, ignore_errors=True)

    def says(self, words, within=20):
        start = len(self.log.read_text(errors="replace")) if self.log.exists() else 0

        def said():
            text = self.log.read_text(errors="replace")
            return any(all(word in line for word in words) for line in text[max(0, start - 2000) :].splitlines())

        wait_until(said, lambda: f"the log says {words}; it says {self.log.read_text(errors='replace')[-600:]}", within)


# Our own key is made at the first connection, which takes a slow machine long.
FIRST = 150


def security(policy, mode):
    return f'security = "{policy}"', f'message_mode = "{mode}"'


# F53
def opcua_policies(house):
    """every policy in both modes, with a name and password, with a user's certificate, and nobody is satisfied with less"""
    stage = Secured(house, "policies")
    user = certificate(stage.folder, "user", uri="urn:user", hosts=("user",))
    users = {
        "password": ('username = "line"', 'password_file = "password"'),
        "certificate": ('user_certificate = "user.der"', 'user_key = "user.pem"'),
        "anonymous": (),
    }
    kinds = list(users)
    for index, (policy, mode) in enumerate((policy, mode) for policy in POLICIES for mode in MODES):
        stage.server.recertify(["NoSecurity", f"{policy}_{MODES[mode]}"])
        stage.trust(stage.good[0])
        kind = kinds[index % len(kinds)]
        stage.run(*security(policy, mode), *users[kind])
        house.count(f"{policy} {mode}, {kind}")
        follows(stage.server, f"a connection with {policy}, {mode}, {kind}", FIRST)
        channels = stage.server.channels()
        claim(channels == {(policy, MODES[mode])}, f"{policy}, {mode}: the server sees {channels}")
        stage.stop()
        wait_until(lambda: not stage.server.channels(), "the session is closed when the daemon stops", 5)
    keys = (stage.pki / "private" / "private.pem").stat().st_mode & 0o777
    claim(keys == 0o600, f"our key has the mode {keys:o}")
    stage.server.recertify(["NoSecurity", "Basic256Sha256_Sign"])
    stage.run(*security("Basic256Sha256", "sign_and_encrypt"))
    house.count("server offers less than was asked for")
    stage.says(["the server offers", "not Basic256Sha256/SignAndEncrypt"])
    claim(not stage.server.channels(), "a session was opened with less security than was asked for")
    stage.stop()
    stage.server.recertify(["Basic256Sha256_SignAndEncrypt"])
    (stage.folder / "password").write_text("wrong\n")
    stage.run(*security("Basic256Sha256", "sign_and_encrypt"), *users["password"])
    house.count("wrong password")
    stage.says(["device_away", "UserAccessDenied"])
    stage.stop()
    claim(user[0].exists(), "the user's certificate is gone")
    return f"{len(POLICIES) * len(MODES)} secured connections, none with less than was asked for"


# F51, F52
def opcua_certificates(house):
    """unknown, rejected, expired, not yet valid, wrong host, wrong application, taken back: each is refused with its reason"""
    stage = Secured(house, "certificates")
    policy = ["NoSecurity", "Basic256Sha256_SignAndEncrypt"]
    stage.run(*security("Basic256Sha256", "sign_and_encrypt"))
    house.count("unknown certificate")
    stage.says(["is unknown and waits in", "opcua trust add"], FIRST)
    waiting = list((stage.pki / "pending").iterdir())
    claim([file.read_bytes() for file in waiting] == [stage.good[0].read_bytes()], f"pending holds {waiting}")
    waiting[0].rename(stage.pki / "trusted" / waiting[0].name)
    follows(stage.server, "the certificate is trusted")
    bad = {
        "expired": (certificate(stage.folder, "expired", days=(-30, -1)), ["has expired at"]),
        "not yet valid": (certificate(stage.folder, "future", days=(1, 30)), ["is valid only from"]),
        "wrong host": (certificate(stage.folder, "elsewhere", hosts=("plc-4", "10.9.8.7")), ["made for plc-4, 10.9.8.7, not for 127.0.0.1"]),
        "wrong application URI": (certificate(stage.folder, "other", uri="urn:other"), [f"says that it is {SERVER_URI}", "made for urn:other"]),
    }
    for kind, (files, words) in bad.items():
        stage.trust(files[0])
        stage.server.recertify(policy, files)
        house.count(f"certificate {kind}")
        stage.says(words)
        claim(not stage.server.channels(), f"a session was opened with a certificate that is {kind}")
    stage.server.recertify(policy, stage.good)
    follows(stage.server, "the good certificate is back")
    for file in (stage.pki / "trusted").iterdir():
        if file.read_bytes() == stage.good[0].read_bytes():
            file.rename(stage.pki / "rejected" / file.name)
    stage.server.restart(0.1)
    house.count("certificate taken back while connected")
    stage.says(["was rejected by a person"])
    time.sleep(0.3)
    claim(not stage.server.channels(), "a session was opened with a certificate that a person rejected")
    stage.forget_all()
    stage.trust(stage.good[0])
    follows(stage.server, "the certificate is trusted again")
    stage.is_choosy = True
    stage.server.restart(0.1)
    house.count("our certificate not trusted by the server")
    stage.says(["the server does not accept our certificate", "cert.der"])
    stage.stop()
    return f"{len(bad) + 3} certificates refused, each with its reason"


STEPS = (opcua_policies, opcua_certificates)
