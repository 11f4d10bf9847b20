//! Which servers take the certificate that is to come.

use super::*;
use crate::device::{Shelf, TrustList, opcua::try_next};

/// Takes every client, or only those whose certificates it was given.
async fn secured(trusts_everybody: bool) -> Plc {
    Plc::start_with(0, 0, |builder| {
        builder.trust_client_certs(trusts_everybody).add_endpoint(
            "secure",
            (
                "/",
                SecurityPolicy::Basic256Sha256,
                MessageSecurityMode::SignAndEncrypt,
                &[ANONYMOUS_USER_TOKEN_ID] as &[&str],
            ),
        )
    })
    .await
}

fn device(name: &str, port: u16, pki: &tempfile::TempDir) -> Settings {
    let mut settings = camera(port, ReadMode::Poll, pki);
    name.clone_into(&mut settings.name);
    settings.request_timeout = MS * 20_000;
    if let Link::Opcua(link) = &mut settings.link {
        link.security.channel = Channel::Secure { policy: Policy::Basic256Sha256, mode: MessageMode::SignAndEncrypt };
    }
    settings
}

#[tokio::test]
async fn the_next_certificate_is_refused_where_it_is_not_known_and_taken_where_it_is() {
    let (open, strict, pki) = (secured(true).await, secured(false).await, tempfile::tempdir().unwrap());
    let now = own::copied_to(pki.path());
    let server = std::fs::read(own::made().1.certificate).unwrap();
    TrustList::new(pki.path()).store(Shelf::Trusted, &server).unwrap();
    let plain = camera(open.port, ReadMode::Poll, &pki);
    let devices = [device("open", open.port, &pki), plain, device("strict", strict.port, &pki)];
    let tried = try_next(&devices).await;
    assert_eq!(tried.iter().map(|tried| tried.device.as_str()).collect::<Vec<_>>(), ["open", "strict"]);
    assert_eq!(tried[0].said, Ok(()));
    let refused = tried[1].said.clone().unwrap_err().to_string();
    let next = own::next(pki.path()).unwrap();
    assert!(refused.contains(&next.certificate.display().to_string()), "{refused}");
    assert!(!next.is_new, "the one that was tried waits");
    assert_eq!(own::read(pki.path()).unwrap(), now, "nothing has changed");

    let at_server = TrustList::new(strict._pki.path());
    at_server.add(&next.certificate, Shelf::Trusted).unwrap();
    let tried = try_next(&devices).await;
    assert!(tried.iter().all(|tried| tried.said.is_ok()), "{tried:?}");
}
