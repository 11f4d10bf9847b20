//! The bare client crate, connected as the device task connects: without Nagle's delay, and with nothing around it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opcua::client::transport::{
    Connector, RequestRecv, SecureChannelState, StreamConnection, StreamConnector, TcpTransport, TransportConfiguration,
};
use opcua::client::{ClientBuilder, ConnectionSource, IdentityToken, Session};
use opcua::core::comms::tcp_codec::TcpCodec;
use opcua::types::{DecodingOptions, EndpointDescription, Error, StatusCode};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_util::codec::FramedRead;

/// A session with the server's first endpoint.
pub(crate) async fn connect(url: &str, folder: &Path) -> Arc<Session> {
    let client = ClientBuilder::new()
        .application_name("floor")
        .application_uri("urn:floor")
        .pki_dir(folder.join("floor-pki"))
        .create_sample_keypair(false)
        .session_retry_limit(0)
        .min_publish_interval(Duration::from_millis(20))
        .client()
        .expect("a client");
    let endpoints = client.get_endpoints(Direct(url.to_owned()), &[], &[]).await.expect("endpoints");
    let mut endpoint = endpoints.into_iter().next().expect("one endpoint");
    endpoint.endpoint_url = url.into();
    let (session, event_loop) = client
        .session_builder()
        .with_connector(Direct(url.to_owned()))
        .user_identity_token(IdentityToken::Anonymous)
        .connect_to_endpoint_directly(endpoint)
        .and_then(|builder| builder.build(client.certificate_store().clone()))
        .expect("a session");
    event_loop.spawn();
    assert!(session.wait_for_connection().await);
    session
}

/// Without Nagle's delay, as the device task connects.
struct Direct(String);

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
    let failed = |error: std::io::Error| Error::new(StatusCode::BadCommunicationError, error.to_string());
    let address = url.trim_start_matches("opc.tcp://").trim_end_matches('/').to_owned();
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let (reader, writer) = tokio::io::split(stream);
    Ok(StreamConnection::new(FramedRead::new(reader, TcpCodec::new(options)), writer, url))
}
