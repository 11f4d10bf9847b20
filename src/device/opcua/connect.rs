//! From a URL to a session: endpoints, security, and a connector of our own.
//!
//! The connector exists because async-opcua 0.19 never sets TCP_NODELAY: small writes then wait for the peer's delayed
//! acknowledgement, up to 40 ms. It also pins the configured host, whatever host the endpoint list names (F58).

use std::sync::Arc;

use opcua::{
    client::{
        Client, ClientBuilder, ConnectionSource, IdentityToken, Session, SessionEventLoop,
        transport::{
            Connector, RequestRecv, SecureChannelState, StreamConnection, StreamConnector, TcpTransport,
            TransportConfiguration,
        },
    },
    core::comms::{tcp_codec::TcpCodec, url::hostname_port_from_url},
    crypto::SecurityPolicy,
    types::{DecodingOptions, EndpointDescription, Error, MessageSecurityMode, StatusCode},
};
use tokio::{
    io::{ReadHalf, WriteHalf},
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_util::codec::FramedRead;

use crate::device::{
    error::DeviceError,
    settings::{Channel, MessageMode, OpcuaLink, Policy, Security, Settings},
};

const DEFAULT_PORT: u16 = 4840;
/// How long the server keeps what we left behind without a goodbye: short, as many servers take few sessions.
const SESSION_TIMEOUT_MS: u32 = 10_000;
/// The library's own publish timer; at 1 ms it floods the server with publish requests, which it refuses.
const MIN_PUBLISH: Duration = Duration::from_millis(20);

/// A session that starts once the event loop is driven.
pub(super) async fn connect(
    link: &OpcuaLink,
    settings: &Settings,
) -> Result<(Arc<Session>, SessionEventLoop<Direct>), DeviceError> {
    let client = client(link, settings)?;
    let offered = discover(&client, link, settings).await?;
    let endpoint = choose(link, offered)?;
    let user = match &link.security.user {
        None => IdentityToken::Anonymous,
        Some(user) => IdentityToken::UserName(user.name.clone(), user.password.as_str().into()),
    };
    client
        .session_builder()
        .with_connector(Direct(link.url.clone()))
        .user_identity_token(user)
        .connect_to_endpoint_directly(endpoint)
        .and_then(|builder| builder.build(client.certificate_store().clone()))
        .map_err(|error| DeviceError::Refused(error.to_string()))
}

/// What the server offers, whatever security this device asks for: nothing is signed, and no certificate is made.
pub(super) async fn endpoints(link: &OpcuaLink, settings: &Settings) -> Result<Vec<EndpointDescription>, DeviceError> {
    let plain = OpcuaLink { security: Security { channel: Channel::None, user: None }, ..link.clone() };
    discover(&client(&plain, settings)?, link, settings).await
}

/// Discovery is a connection of its own: connect, hello, channel, request.
async fn discover(
    client: &Client,
    link: &OpcuaLink,
    settings: &Settings,
) -> Result<Vec<EndpointDescription>, DeviceError> {
    timeout(settings.request_timeout.saturating_mul(2), client.get_endpoints(Direct(link.url.clone()), &[], &[]))
        .await
        .map_err(|_| DeviceError::TimedOut("the request for endpoints"))?
        .map_err(|error| DeviceError::Unreachable(error.to_string()))
}

/// The library must not reconnect: after its own reconnect subscriptions are re-created but never published to. One session per
/// connection, made anew by us, has no such state to lose. The keep-alive finds a peer that is silent without being gone.
fn client(link: &OpcuaLink, settings: &Settings) -> Result<Client, DeviceError> {
    let secure = link.security.channel != Channel::None;
    ClientBuilder::new()
        .application_name("Sealgate")
        .application_uri("urn:sealgate")
        .product_uri("urn:sealgate")
        .pki_dir(&link.pki_dir)
        .create_sample_keypair(secure)
        .trust_server_certs(false)
        .session_name(format!("sealgate {}", settings.name))
        .session_retry_limit(0)
        .session_timeout(SESSION_TIMEOUT_MS)
        .keep_alive_interval(Duration::from_secs(1))
        .max_failed_keep_alive_count(2)
        .request_timeout(settings.request_timeout)
        .publish_timeout(Duration::from_secs(10))
        .min_publish_interval(MIN_PUBLISH)
        .recreate_subscriptions(false)
        .client()
        .map_err(|errors| DeviceError::Refused(errors.join("; ")))
}

/// Exactly the security that was asked for, or nothing: no downgrade (F53).
fn choose(link: &OpcuaLink, offered: Vec<EndpointDescription>) -> Result<EndpointDescription, DeviceError> {
    let (policy, mode) = match link.security.channel {
        Channel::None => (SecurityPolicy::None, MessageSecurityMode::None),
        Channel::Secure { policy, mode } => (
            match policy {
                Policy::Basic256Sha256 => SecurityPolicy::Basic256Sha256,
                Policy::Aes128Sha256RsaOaep => SecurityPolicy::Aes128Sha256RsaOaep,
                Policy::Aes256Sha256RsaPss => SecurityPolicy::Aes256Sha256RsaPss,
            },
            match mode {
                MessageMode::Sign => MessageSecurityMode::Sign,
                MessageMode::SignAndEncrypt => MessageSecurityMode::SignAndEncrypt,
            },
        ),
    };
    let is_asked_for = |endpoint: &EndpointDescription| {
        endpoint.security_mode == mode
            && SecurityPolicy::from_uri(endpoint.security_policy_uri.as_ref()) == policy
            && endpoint.endpoint_url.as_ref().starts_with("opc.tcp:")
    };
    let list: Vec<String> = offered
        .iter()
        .map(|endpoint| {
            let policy = SecurityPolicy::from_uri(endpoint.security_policy_uri.as_ref());
            format!("{policy}/{}", endpoint.security_mode)
        })
        .collect();
    let mut endpoint = offered.into_iter().find(is_asked_for).ok_or_else(|| {
        DeviceError::Refused(format!(
            "the server offers {}, not {policy}/{mode}; change the security of this device or of the server",
            list.join(", ")
        ))
    })?;
    endpoint.endpoint_url = link.url.as_str().into();
    Ok(endpoint)
}

/// Connects to the configured URL, without Nagle's delay.
pub(super) struct Direct(String);

impl Connector for Direct {
    type Transport = TcpTransport;

    async fn connect(
        &self,
        channel: Arc<SecureChannelState>,
        outgoing: RequestRecv,
        config: TransportConfiguration,
    ) -> Result<TcpTransport, Error> {
        StreamConnector::new(open, self.0.clone()).connect(channel, outgoing, config).await
    }

    fn default_endpoint(&self) -> EndpointDescription {
        EndpointDescription::from(self.0.as_str())
    }
}

impl ConnectionSource for Direct {
    type Builder = Direct;

    fn get_connector(&self, _endpoint: &EndpointDescription) -> Result<Direct, Error> {
        Ok(Direct(self.0.clone()))
    }
}

async fn open(
    url: String,
    options: DecodingOptions,
) -> Result<StreamConnection<ReadHalf<TcpStream>, WriteHalf<TcpStream>>, Error> {
    let (host, port) = hostname_port_from_url(&url, DEFAULT_PORT)
        .map_err(|status| Error::new(status, format!("{url} is no opc.tcp URL")))?;
    let failed =
        |error: std::io::Error| Error::new(StatusCode::BadCommunicationError, format!("{host}:{port}: {error}"));
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let (reader, writer) = tokio::io::split(stream);
    let reader = FramedRead::new(reader, TcpCodec::new(options));
    Ok(StreamConnection::new(reader, writer, url))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::device::settings::ReadMode;

    fn link(channel: Channel) -> OpcuaLink {
        OpcuaLink {
            url: "opc.tcp://10.0.0.7:4840/plc".to_owned(),
            mode: ReadMode::Poll,
            security: Security { channel, user: None },
            pki_dir: PathBuf::new(),
        }
    }

    fn offer(policy: SecurityPolicy, mode: MessageSecurityMode) -> EndpointDescription {
        EndpointDescription::from(("opc.tcp://elsewhere:4840/", policy.to_uri(), mode))
    }

    #[test]
    fn takes_the_security_that_was_asked_for_and_the_host_that_was_configured() {
        let asked = Channel::Secure { policy: Policy::Aes256Sha256RsaPss, mode: MessageMode::Sign };
        let offers = vec![
            offer(SecurityPolicy::None, MessageSecurityMode::None),
            offer(SecurityPolicy::Aes256Sha256RsaPss, MessageSecurityMode::Sign),
        ];
        let endpoint = choose(&link(asked), offers).unwrap();
        assert_eq!(endpoint.security_mode, MessageSecurityMode::Sign);
        assert_eq!(endpoint.endpoint_url.as_ref(), "opc.tcp://10.0.0.7:4840/plc");
    }

    #[test]
    fn refuses_a_server_that_offers_only_less() {
        let asked = Channel::Secure { policy: Policy::Basic256Sha256, mode: MessageMode::SignAndEncrypt };
        let offers = vec![
            offer(SecurityPolicy::None, MessageSecurityMode::None),
            offer(SecurityPolicy::Basic256Sha256, MessageSecurityMode::Sign),
        ];
        let error = choose(&link(asked), offers).unwrap_err().to_string();
        assert!(error.contains("Basic256Sha256/Sign, not Basic256Sha256/SignAndEncrypt"), "{error}");
    }
}
