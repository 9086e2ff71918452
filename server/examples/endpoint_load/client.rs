//! The least of an MQTT 3.1.1 client, so that the client's share of the machine stays small.

use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Outcome;
use super::fleet::{Fleet, name};

pub struct Client {
    stream: TlsStream<TcpStream>,
    thing: String,
    next_id: u16,
    bytes: Vec<u8>,
    /// notify-next that came while something else was waited for.
    told: bool,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![head];
    let mut length = body.len();
    while length > 127 {
        out.push((length % 128) as u8 | 128);
        length /= 128;
    }
    out.push(length as u8);
    out.extend_from_slice(body);
    out
}

impl Client {
    pub async fn connect(fleet: &Fleet, number: usize, port: u16, suffix: &str) -> Outcome<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        let connector = TlsConnector::from(fleet.config(number)?);
        let stream = connector.connect(ServerName::try_from("localhost")?, socket).await?;
        let thing = name(number);
        let mut client = Self { stream, thing, next_id: 0, bytes: Vec::new(), told: false };
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        // Clean session; keep-alive of 20 minutes.
        body.extend_from_slice(&[4, 2, 4, 176]);
        text(&mut body, &format!("{}{suffix}", client.thing));
        client.stream.write_all(&packet(0x10, &body)).await?;
        match client.read().await? {
            (0x20, body) if body[1] == 0 => Ok(client),
            other => Err(format!("{}: refused: {other:?}", client.thing).into()),
        }
    }

    async fn read(&mut self) -> Outcome<(u8, Vec<u8>)> {
        loop {
            if let Some((head, body, length)) = whole(&self.bytes) {
                let body = body.to_vec();
                self.bytes.drain(..length);
                if self.bytes.is_empty() {
                    self.bytes = Vec::new();
                }
                return Ok((head, body));
            }
            let mut buffer = [0; 2_048];
            match self.stream.read(&mut buffer).await? {
                0 => return Err(format!("{}: closed", self.thing).into()),
                n => self.bytes.extend_from_slice(&buffer[..n]),
            }
        }
    }

    pub async fn subscribe(&mut self, rest: &str) -> Outcome<()> {
        let mut body = vec![0, 1];
        text(&mut body, &format!("$aws/things/{}/jobs/{rest}", self.thing));
        body.push(1);
        self.stream.write_all(&packet(0x82, &body)).await?;
        match self.read().await? {
            (0x90, body) if body.last() == Some(&1) => Ok(()),
            other => Err(format!("{}: not subscribed: {other:?}", self.thing).into()),
        }
    }

    /// A message: its topic's end and its payload. Acknowledges it.
    async fn message(&mut self) -> Outcome<(String, Value)> {
        loop {
            let (head, body) = self.read().await?;
            if head >> 4 != 3 {
                continue;
            }
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..2 + length].to_vec())?;
            let mut rest = &body[2 + length..];
            if head & 6 != 0 {
                self.stream.write_all(&[0x40, 2, rest[0], rest[1]]).await?;
                rest = &rest[2..];
            }
            return Ok((topic, serde_json::from_slice(rest)?));
        }
    }

    /// One request of QoS 1, and its answer, which must be `accepted`.
    pub async fn ask(&mut self, rest: &str, body: &Value) -> Outcome<Value> {
        let topic = format!("$aws/things/{}/jobs/{rest}", self.thing);
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let mut bytes = Vec::new();
        text(&mut bytes, &topic);
        bytes.extend_from_slice(&self.next_id.to_be_bytes());
        bytes.extend_from_slice(body.to_string().as_bytes());
        self.stream.write_all(&packet(0x32, &bytes)).await?;
        loop {
            let (found, answer) = self.message().await?;
            match found.strip_prefix(&topic) {
                Some("/accepted") => return Ok(answer),
                Some("/rejected") => return Err(format!("{}: {answer}", self.thing).into()),
                _ => self.told = true,
            }
        }
    }

    /// Waits until the server says that another job is next.
    pub async fn told(&mut self) -> Outcome<()> {
        if !std::mem::take(&mut self.told) {
            self.message().await?;
        }
        Ok(())
    }
}

fn whole(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (mut length, mut factor, mut at) = (0_usize, 1, 1);
    loop {
        let byte = *bytes.get(at)?;
        length += usize::from(byte & 127) * factor;
        factor *= 128;
        at += 1;
        if byte & 128 == 0 {
            break;
        }
    }
    Some((bytes[0], bytes.get(at..at + length)?, at + length))
}
