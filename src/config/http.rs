//! The section `[http]`: where the HTTP door is open. Without it there is none.

use std::net::SocketAddr;

use super::reader::Section;
use crate::web::Settings;

const LISTEN: &str = "an IP address and a port, for example \"127.0.0.1:8080\"; port 0 takes a free one";

pub(super) fn read(mut section: Section<'_>) -> Option<Settings> {
    let listen = section.filled("listen");
    let insecure = section.flag("insecure").is_some_and(|field| field.value);
    let _: Option<()> = section.missing("listen", LISTEN);
    let address = listen.as_ref().and_then(|field| field.value.parse::<SocketAddr>().ok());
    if let Some(field) = &listen {
        match address {
            None => section.problems().add(field.at.error("is no address").allowed(LISTEN)),
            Some(address) if !address.ip().is_loopback() && !insecure => {
                let says =
                    "is open beyond this computer, and this release speaks no TLS: passwords would pass in the clear";
                let allowed = "a loopback address behind a proxy that speaks TLS, or insecure = true beside it where the way \
                    to such a proxy is protected otherwise";
                section.problems().add(field.at.error(says).allowed(allowed));
            }
            Some(_) => {}
        }
    }
    section.finish();
    Some(Settings { listen: address? })
}
