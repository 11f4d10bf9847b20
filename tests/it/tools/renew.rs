//! `opcua renew`, and who names it when our certificate has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use opcua::crypto::{CertificateStore, SecurityPolicy, X509Data};
use opcua::server::{ANONYMOUS_USER_TOKEN_ID, ServerBuilder};
use opcua::types::MessageSecurityMode;
use sealgate::device::{self, OwnCertificate, Shelf, TrustList};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::stage::{Stage, fits};

/// A stage whose device `opcua` is a server with security, which takes the clients that it was given.
struct Secured {
    stage: Stage,
    config: PathBuf,
    /// Of the line.
    pki: PathBuf,
    /// Whom the server takes.
    clients: TrustList,
    _runtime: Runtime,
}

impl Secured {
    fn open() -> Self {
        let stage = Stage::open();
        let server_pki = stage.folder.path().join("server");
        let own = device::ensure_own_certificate(&server_pki).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = runtime.enter();
        let (server, _) = ServerBuilder::new()
            .application_name("plc")
            .application_uri(&own.application_uri)
            .product_uri("urn:plc")
            .pki_dir(&server_pki)
            .host("127.0.0.1")
            .port(port)
            .discovery_urls(vec![format!("opc.tcp://127.0.0.1:{port}/")])
            .add_endpoint(
                "secure",
                (
                    "/",
                    SecurityPolicy::Basic256Sha256,
                    MessageSecurityMode::SignAndEncrypt,
                    &[ANONYMOUS_USER_TOKEN_ID] as &[&str],
                ),
            )
            .build()
            .unwrap();
        runtime.spawn(server.run_with(listener));
        drop(inside);
        let config = stage.config();
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace(&format!(":{}", stage.opcua), &format!(":{port}"));
        let text = text.replace("security = \"none\"", "security = \"Basic256Sha256\"\npki_dir = \"pki\"");
        fs::write(&config, text).unwrap();
        let pki = stage.folder.path().join("pki");
        TrustList::new(&pki).add(&own.certificate, Shelf::Trusted).unwrap();
        Self { config, pki, clients: TrustList::new(&server_pki), stage, _runtime: runtime }
    }

    fn renew(&self, args: &[&str]) -> (i32, Value) {
        let args = [&["opcua", "renew", "--json", "--config", self.config.to_str().unwrap()], args].concat();
        let said = self.stage.sealgate(&args);
        (said.code, serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}{}", said.out, said.err)))
    }

    fn own(&self) -> OwnCertificate {
        device::own_certificate(&self.pki).unwrap()
    }
}

#[test]
fn the_next_certificate_counts_when_every_server_takes_it_and_not_before() {
    let line = Secured::open();
    let first = device::ensure_own_certificate(&line.pki).unwrap();
    line.clients.add(&first.certificate, Shelf::Trusted).unwrap();
    let next = line.pki.join("next/cert.der");
    let said = line.stage.sealgate(&["opcua", "renew", "--config", line.config.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    fits(&said.out);
    let flat = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("does not accept our certificate") && flat.contains("trusted clients"), "{}", said.out);
    assert!(flat.contains(next.to_str().unwrap()) && flat.contains("nothing has changed"), "{}", said.out);
    assert_eq!(line.own().thumbprint, first.thumbprint);

    let (code, refused) = line.renew(&[]);
    assert_eq!((code, &refused["in_place"], &refused["devices"][0]["accepted"]), (1, &false.into(), &false.into()));
    assert_eq!(refused["devices"][0]["device"], "opcua", "Modbus has no certificates: {refused}");
    line.clients.add(&next, Shelf::Trusted).unwrap();
    let (code, taken) = line.renew(&[]);
    assert_eq!((code, &taken["in_place"], &taken["devices"][0]["why"]), (0, &true.into(), &Value::Null), "{taken}");
    assert_eq!(taken["thumbprint"], refused["thumbprint"], "the one that waited");
    assert_eq!(taken["thumbprint"], line.own().thumbprint.as_str());
    assert!(line.pki.join("former/private.pem").exists() && !next.exists());

    if std::os::unix::fs::chown(&line.own().key, Some(12_345), None).is_ok() {
        // Only root may give files away; elsewhere nobody can be mistaken for the owner.
        let said = line.stage.sealgate(&["opcua", "renew", "--now", "--config", line.config.to_str().unwrap()]);
        assert_eq!(said.code, 74, "{}", said.out);
        assert!(said.err.contains("belongs to user 12345"), "{}", said.err);
        assert!(!next.exists());
    }
}

#[test]
fn the_first_pair_is_made_by_one_at_a_time_and_stays_for_whoever_comes_next() {
    let line = Secured::open();
    let config = line.config.to_str().unwrap();
    let other = device::Renewal::begin(&line.pki).unwrap().unwrap();
    let said = line.stage.sealgate(&["opcua", "renew", "--config", config]);
    assert_eq!(said.code, 75, "{}{}", said.out, said.err);
    assert!(said.err.contains("another renew is at work in"), "{}", said.err);
    assert!(!line.pki.join("next").exists(), "it has touched nothing");
    drop(other);

    let said = line.stage.sealgate(&["opcua", "renew", "--config", config]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    fits(&said.out);
    let flat = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("there was none before") && !flat.contains("former"), "{}", said.out);
    let first = line.own();
    line.clients.add(&first.certificate, Shelf::Trusted).unwrap();
    let checks = line.stage.json(&["opcua", "doctor", "opcua", "--config", config]);
    let session = checks.as_array().unwrap().iter().find(|check| check["check"] == "session").unwrap();
    assert_eq!((&session["ok"], line.own().thumbprint), (&true.into(), first.thumbprint), "{checks}");
}

/// A certificate that ends as soon as it is made.
fn ended(pki: &Path) {
    let data = X509Data {
        key_size: 2048,
        common_name: "Sealgate".to_owned(),
        organization: "Sealgate".to_owned(),
        organizational_unit: String::new(),
        country: String::new(),
        state: String::new(),
        alt_host_names: X509Data::alt_host_names("urn:line:sealgate", None, true, true, true),
        certificate_duration_days: 0,
    };
    let (certificate, key) = (pki.join("own/cert.der"), pki.join("private/private.pem"));
    for file in [&certificate, &key] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
    }
    CertificateStore::create_certificate_and_key(&data, true, &certificate, &key).unwrap();
    let until_s = device::own_certificate(pki).unwrap().valid_until_s;
    let now_s = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    while now_s() <= until_s {
        std::thread::yield_now();
    }
}

#[test]
fn who_finds_our_certificate_ended_names_the_command_that_makes_the_next() {
    let line = Secured::open();
    ended(&line.pki);
    let config = line.config.to_str().unwrap();
    let checks = line.stage.json(&["opcua", "doctor", "opcua", "--config", config]);
    let failed = checks.as_array().unwrap().iter().find(|check| check["ok"] == false).unwrap();
    assert_eq!(failed["check"], "our certificate", "{checks}");
    assert!(failed["found"].as_str().unwrap().contains("has expired"), "{failed}");
    assert!(failed["here"].as_str().unwrap().contains("sealgate opcua renew"), "{failed}");
    let online = line.stage.sealgate(&["check", "--online", "--config", config]);
    assert_eq!(online.code, 1, "{}", online.out);
    assert!(online.out.contains("has expired") && online.out.contains("sealgate opcua renew"), "{}", online.out);

    let (code, taken) = line.renew(&["--now"]);
    assert_eq!((code, &taken["in_place"], &taken["devices"]), (0, &true.into(), &Value::Array(Vec::new())));
    line.clients.add(&line.own().certificate, Shelf::Trusted).unwrap();
    let checks = line.stage.json(&["opcua", "doctor", "opcua", "--config", config]);
    let session = checks.as_array().unwrap().iter().find(|check| check["check"] == "session").unwrap();
    assert_eq!(session["ok"], true, "{checks}");
}
