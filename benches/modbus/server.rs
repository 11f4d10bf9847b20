//! A Modbus server in a process of its own: 65,536 holding registers, of which every block of 40 shows in its upper half what is
//! written to its lower half. Unit 99 never answers.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

pub(crate) const SILENT: u8 = 99;
/// A register and its echo.
pub(crate) const ECHO: usize = 20;

pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .arg("--server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program once more");
        let mut line = String::new();
        let output = process.stdout.as_mut().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("its port");
        Self { process, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Whoever started it is gone when its standard input ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let registers = Arc::new(Mutex::new(vec![0_u16; 65_536]));
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("bound").port());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::task::spawn_local(attend(stream, Arc::clone(&registers)));
        }
    });
}

async fn attend(mut stream: TcpStream, registers: Arc<Mutex<Vec<u16>>>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 1024];
    let mut filled = 0;
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer[filled..]).await else { return };
        filled += count;
        if filled < 6 || filled < 6 + usize::from(u16::from_be_bytes([buffer[4], buffer[5]])) {
            continue;
        }
        let frame: Vec<u8> = buffer[..filled].to_vec();
        filled = 0;
        if frame[6] == SILENT {
            continue;
        }
        let answer = answer(&frame, &mut registers.lock().expect("no panic inside"));
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn answer(frame: &[u8], registers: &mut [u16]) -> Vec<u8> {
    let number = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let (start, count) = (number(8), number(10));
    let mut answer = frame[..8].to_vec();
    if frame[7] == 3 {
        answer.push(count as u8 * 2);
        answer.extend(registers[start..start + count].iter().flat_map(|word| word.to_be_bytes()));
    } else {
        for at in 0..count {
            registers[start + at] = number(13 + at * 2) as u16;
            registers[start + at + ECHO] = registers[start + at];
        }
        answer.extend(&frame[8..12]);
    }
    let length = (answer.len() - 6) as u16;
    answer[4..6].copy_from_slice(&length.to_be_bytes());
    answer
}
