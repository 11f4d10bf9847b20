//! A TCP connection to a device, within a time limit, whose small questions are sent at once.

use tokio::{
    net::TcpStream,
    time::{Duration, timeout},
};

use super::error::DeviceError;

pub(super) async fn dial(host: &str, port: u16, limit: Duration) -> Result<TcpStream, DeviceError> {
    let unreachable = |error: std::io::Error| DeviceError::Unreachable(format!("{host}:{port}: {error}"));
    let stream = timeout(limit, TcpStream::connect((host, port)))
        .await
        .map_err(|_| DeviceError::TimedOut("the connection"))?
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}
