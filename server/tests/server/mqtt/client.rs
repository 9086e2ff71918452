//! An MQTT client that can do everything wrong: packets are bytes, made and read by hand from the specification, with
//! nothing of the server's own code.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::device::Device;

/// How to connect.
#[derive(Clone)]
pub struct Options {
    pub level: u8,
    pub client_id: String,
    pub clean: bool,
    pub keep_alive: u16,
    /// Properties of CONNECT (MQTT 5), without their length.
    pub properties: Vec<u8>,
    /// Topic, payload, properties (MQTT 5).
    pub will: Option<(String, Vec<u8>, Vec<u8>)>,
    pub port: u16,
    pub alpn: Option<&'static str>,
    pub name: String,
    /// The address it comes from, when it matters.
    pub from: Option<&'static str>,
}

impl Options {
    pub fn new(level: u8, client_id: &str, port: u16) -> Self {
        Self {
            level,
            client_id: client_id.into(),
            clean: true,
            keep_alive: 60,
            properties: Vec::new(),
            will: None,
            port,
            alpn: None,
            name: "localhost".into(),
            from: None,
        }
    }
}

/// A packet: its first byte, and the rest without the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub head: u8,
    pub body: Vec<u8>,
}

/// A PUBLISH, read.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub id: Option<u16>,
    pub again: bool,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }
}

pub struct Client {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    pub level: u8,
    /// CONNACK's session present flag.
    pub present: bool,
    waiting: Vec<Packet>,
    next_id: u16,
    bytes: Vec<u8>,
}

pub fn text(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

pub fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![head];
    let mut length = body.len();
    loop {
        let more = length > 127;
        out.push((length % 128) as u8 | if more { 128 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

pub fn connect_packet(options: &Options) -> Vec<u8> {
    let mut flags = if options.clean { 2 } else { 0 };
    if options.will.is_some() {
        flags |= 4 | 8;
    }
    let mut body = text("MQTT");
    body.extend([options.level, flags]);
    body.extend(options.keep_alive.to_be_bytes());
    if options.level == 5 {
        body.push(options.properties.len() as u8);
        body.extend(&options.properties);
    }
    body.extend(text(&options.client_id));
    if let Some((topic, payload, properties)) = &options.will {
        if options.level == 5 {
            body.push(properties.len() as u8);
            body.extend(properties);
        }
        body.extend(text(topic));
        body.extend((payload.len() as u16).to_be_bytes());
        body.extend(payload);
    }
    packet(0x10, &body)
}

impl Client {
    /// TLS alone.
    pub fn open(device: &Device, options: &Options) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(device.ca.as_bytes()).unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_slice(device.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(device.key.serialize_der()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(crate::device::shown(certificate, &key));
        config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(options.name.clone()).unwrap();
        let session = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        let socket = match options.from {
            Some(from) => connected_from(from, options.port)?,
            None => TcpStream::connect(("127.0.0.1", options.port))?,
        };
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.set_nodelay(true)?;
        let stream = StreamOwned::new(session, socket);
        Ok(Self { stream, level: options.level, present: false, waiting: Vec::new(), next_id: 1, bytes: Vec::new() })
    }

    /// Connects and reads CONNACK; its code as the error when it refuses.
    pub fn try_connect(device: &Device, options: &Options) -> Result<Self, Option<u8>> {
        let mut client = Self::open(device, options).map_err(|_| None)?;
        client.send(&connect_packet(options)).map_err(|_| None)?;
        let answer = client.read().map_err(|_| None)?;
        assert_eq!(answer.head, 0x20, "{answer:?}");
        if answer.body[1] != 0 {
            return Err(Some(answer.body[1]));
        }
        client.present = answer.body[0] & 1 == 1;
        Ok(client)
    }

    pub fn connect(device: &Device, options: &Options) -> Self {
        Self::try_connect(device, options).unwrap_or_else(|code| panic!("refused: {code:?}"))
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next packet.
    pub fn read(&mut self) -> std::io::Result<Packet> {
        loop {
            if let Some((packet, length)) = whole(&self.bytes) {
                self.bytes.drain(..length);
                return Ok(packet);
            }
            let mut buffer = [0; 8_192];
            let n = self.stream.read(&mut buffer)?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.bytes.extend_from_slice(&buffer[..n]);
        }
    }

    /// The next packet of a kind; others wait for their turn.
    pub fn expect(&mut self, kind: u8) -> std::io::Result<Packet> {
        if let Some(at) = self.waiting.iter().position(|packet| packet.head >> 4 == kind) {
            return Ok(self.waiting.remove(at));
        }
        loop {
            let packet = self.read()?;
            if packet.head >> 4 == kind {
                return Ok(packet);
            }
            self.waiting.push(packet);
        }
    }

    /// The next message, acknowledged.
    pub fn message(&mut self) -> std::io::Result<Message> {
        let message = self.message_unacknowledged()?;
        if let Some(id) = message.id {
            self.send(&packet(0x40, &id.to_be_bytes()))?;
        }
        Ok(message)
    }

    pub fn message_unacknowledged(&mut self) -> std::io::Result<Message> {
        let Packet { head, body } = self.expect(3)?;
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut rest = &body[2 + length..];
        let id = (head & 6 != 0).then(|| {
            let id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
            id
        });
        if self.level == 5 {
            assert!(rest[0] < 128);
            rest = &rest[1 + usize::from(rest[0])..];
        }
        Ok(Message { topic, payload: rest.to_vec(), id, again: head & 8 != 0 })
    }

    /// No message comes for a while.
    pub fn silent(&mut self, time: Duration) -> bool {
        if self.waiting.iter().any(|packet| packet.head >> 4 == 3) {
            return false;
        }
        self.stream.sock.set_read_timeout(Some(time)).unwrap();
        let answer = self.expect(3);
        self.stream.sock.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match answer {
            Ok(packet) => {
                self.waiting.insert(0, packet);
                false
            }
            Err(error) => matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        }
    }

    pub fn subscribe(&mut self, filter: &str) -> u8 {
        self.next_id += 1;
        let mut body = self.next_id.to_be_bytes().to_vec();
        if self.level == 5 {
            body.push(0);
        }
        body.extend(text(filter));
        body.push(1);
        self.send(&packet(0x82, &body)).unwrap();
        *self.expect(9).unwrap().body.last().unwrap()
    }

    pub fn publish_packet(&mut self, topic: &str, payload: &[u8], qos: u8) -> Vec<u8> {
        let mut body = text(topic);
        if qos > 0 {
            self.next_id += 1;
            body.extend(self.next_id.to_be_bytes());
        }
        if self.level == 5 {
            body.push(0);
        }
        body.extend(payload);
        packet(0x30 | (qos << 1), &body)
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) -> std::io::Result<()> {
        let bytes = self.publish_packet(topic, payload, qos);
        self.send(&bytes)?;
        if qos > 0 {
            let id = self.next_id.to_be_bytes();
            let ack = self.expect(4)?;
            assert_eq!(ack.body[..2], id);
        }
        Ok(())
    }

    /// One jobs request, and its answer: the last word of its topic, and the body.
    pub fn ask(&mut self, topic: &str, body: &Value) -> (String, Value) {
        self.publish(topic, body.to_string().as_bytes(), 1).unwrap();
        loop {
            let message = self.message().unwrap();
            if let Some(verdict) = message.topic.strip_prefix(topic).and_then(|rest| rest.strip_prefix('/')) {
                return (verdict.to_owned(), message.json());
            }
        }
    }

    pub fn ping(&mut self) -> std::io::Result<()> {
        self.send(&[0xc0, 0])?;
        self.expect(13).map(drop)
    }

    pub fn disconnect(mut self) {
        self.send(&[0xe0, 0]).unwrap();
        let _ = self.read();
    }

    /// The reason of the server's DISCONNECT (MQTT 5), or nothing when it just closed.
    pub fn closed(&mut self) -> Option<u8> {
        let start = Instant::now();
        let mut reason = None;
        loop {
            match self.read() {
                Ok(packet) if packet.head == 0xe0 => reason = Some(packet.body.first().copied().unwrap_or(0)),
                Ok(_) => {}
                Err(error) => {
                    let open = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                    assert!(!open, "still open after {:?}", start.elapsed());
                    return reason;
                }
            }
        }
    }
}

/// A socket of another of this machine's addresses.
fn connected_from(address: &str, port: u16) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(format!("{address}:0").parse().map_err(std::io::Error::other)?)?;
        socket.connect(([127, 0, 0, 1], port).into()).await
    })?;
    let socket = socket.into_std()?;
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Connects without a certificate.
pub fn anonymous(device: &Device, options: &Options) -> std::io::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(device.ca.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(options.name.clone()).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(session, TcpStream::connect(("127.0.0.1", options.port))?);
    stream.write_all(&connect_packet(options))?;
    stream.flush()?;
    match stream.read(&mut [0; 16])? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn whole(bytes: &[u8]) -> Option<(Packet, usize)> {
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
    let body = bytes.get(at..at + length)?.to_vec();
    Some((Packet { head: bytes[0], body }, at + length))
}
