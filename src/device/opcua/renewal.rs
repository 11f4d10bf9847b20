//! Whether the servers take the certificate that is to come.

use futures_util::future::join_all;

use super::look;
use crate::device::{
    error::DeviceError,
    settings::{Channel, Link, Own, Settings},
};

/// What one device says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub device: String,
    pub said: Result<(), DeviceError>,
}

/// A session with each of these devices that our certificate is shown to, all at the same time; nothing is read or written there.
pub async fn try_next(devices: &[Settings]) -> Vec<Tried> {
    let tried = devices.iter().filter_map(with_next).map(|settings| async move {
        let said = look::ask(&settings, async |_, _| Ok(())).await;
        Tried { device: settings.name, said }
    });
    join_all(tried).await
}

fn with_next(settings: &Settings) -> Option<Settings> {
    let mut settings = settings.clone();
    let Link::Opcua(link) = &mut settings.link else { return None };
    link.own = Own::Next;
    (link.security.channel != Channel::None).then_some(settings)
}
