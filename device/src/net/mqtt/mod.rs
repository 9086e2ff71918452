//! AWS IoT's jobs data plane over MQTT 5: the first way the agent talks, and the one on which it is told of jobs.
//!
//! A task of its own holds the connection, makes it again when it is gone (with full jitter, so that a fleet that was cut
//! off together doesn't come back together), and answers no question while it is down: HTTPS is there for that. Packets
//! are `mqtt-protocol-core`'s; at most one request is under way, since the agent does one thing at a time.

pub(crate) mod claim;
mod packets;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sealift_jobs::{ErrorResponse, ThingName};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::{debug, info};

use super::{ANSWER, CONNECT};
use crate::agent::run::backoff;
use packets::{Incoming, Packets};

/// AWS IoT's name for MQTT with certificates on a port that it shares with HTTPS.
const ALPN: &[u8] = b"x-amzn-mqtt-ca";
/// AWS IoT's ports for HTTPS with certificates, and for MQTT.
const PORTS: (u16, u16) = (8443, 8883);
/// Silence after which a PINGREQ is sent.
const PING: Duration = Duration::from_secs(60);
/// The keep-alive that the server is told: it may take a while until a flash write lets go of the thread.
const KEEP_ALIVE: u16 = 300;
/// Longest pause between two attempts.
const MOST_PAUSE: Duration = Duration::from_secs(300);
/// Longest wait for the first connection before HTTPS is used.
const FIRST: Duration = Duration::from_secs(10);

/// What a request came to.
#[derive(Debug)]
pub(super) enum Reply {
    Accepted(Value),
    Rejected(ErrorResponse),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Down,
}

#[derive(Debug)]
struct Ask {
    /// The topic after `$aws/things/THING/jobs/`.
    request: String,
    body: Map<String, Value>,
    reply: oneshot::Sender<Reply>,
}

/// A handle to the connection's task, which ends with it.
#[derive(Clone, Debug)]
pub struct Link {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
    news: Arc<Notify>,
}

/// Where to connect, and as whom.
struct Place {
    host: String,
    port: u16,
    alpn: bool,
    client_id: String,
    tls: Arc<ClientConfig>,
}

impl Place {
    /// The server of `origin`: its port 8883 when HTTPS is on 8443, as at AWS, else the same port by ALPN.
    fn new(origin: &Url, client_id: String, mut tls: ClientConfig) -> Self {
        let https = origin.port_or_known_default().unwrap_or(PORTS.0);
        let alpn = https != PORTS.0;
        tls.alpn_protocols = if alpn { vec![ALPN.to_vec()] } else { Vec::new() };
        let host = origin.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = if alpn { https } else { PORTS.1 };
        Place { host, port, alpn, client_id, tls: Arc::new(tls) }
    }
}

/// A connection past CONNACK.
struct Line {
    stream: TlsStream<TcpStream>,
    packets: Packets,
}

impl Line {
    async fn open(place: &Place, keep_alive: u16) -> Result<Self, Gone> {
        let socket = TcpStream::connect((place.host.as_str(), place.port)).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(place.host.clone()).map_err(|error| Gone::Refused(error.to_string()))?;
        let stream = TlsConnector::from(place.tls.clone()).connect(name, socket).await?;
        if place.alpn && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(Gone::Refused("the server doesn't speak MQTT on this port".into()));
        }
        let mut line = Line { stream, packets: Packets::new() };
        let hello = packets::connect(&place.client_id, keep_alive).map_err(Gone::Refused)?;
        line.stream.write_all(&hello).await?;
        match line.read().await? {
            Incoming::Connack(0) => Ok(line),
            Incoming::Connack(code) => Err(Gone::Refused(format!("the server refused with {code:#04x}"))),
            _ => Err(Gone::Broken("the first packet isn't CONNACK".into())),
        }
    }

    /// The next packet. Safe to be dropped half way: what was read stays.
    async fn read(&mut self) -> Result<Incoming, Gone> {
        loop {
            if let Some(packet) = self.packets.next().map_err(|problem| Gone::Broken(problem.into()))? {
                return Ok(packet);
            }
            let mut buffer = [0; 4_096];
            match self.stream.read(&mut buffer).await? {
                0 => return Err(Gone::Broken("the server closed the connection".into())),
                n => self.packets.add(&buffer[..n]),
            }
        }
    }
}

impl Link {
    /// Begins to connect to the server of `origin`: on its port 8883 when HTTPS is on 8443, as at AWS, else on the same
    /// port by ALPN. Needs a running tokio runtime.
    pub fn open(origin: &Url, thing: ThingName, tls: ClientConfig) -> Self {
        let (asks, questions) = mpsc::channel(1);
        let (said, state) = watch::channel(State::Connecting);
        let news = Arc::new(Notify::new());
        // The thing's name, which the default policy lets it connect under.
        let place = Place::new(origin, thing.as_str().to_owned(), tls);
        tokio::spawn(hold(place, questions, said, news.clone()));
        Link { asks, state, news }
    }

    /// Waits until the first attempt came to something.
    pub async fn settled(&self) {
        let mut state = self.state.clone();
        let _ = timeout(FIRST, state.wait_for(|state| *state != State::Connecting)).await;
    }

    /// Asks over MQTT; `None` when there is no connection, or it broke before the answer came.
    pub(super) async fn ask(&self, request: String, body: Map<String, Value>) -> Option<Reply> {
        if *self.state.borrow() != State::Up {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { request, body, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Waits until the server says that another job is next, or that the connection is there again: what was said in
    /// between was missed.
    pub async fn news(&self) {
        self.news.notified().await;
    }
}

/// Why a connection couldn't be made or is gone.
#[derive(Debug, thiserror::Error)]
enum Gone {
    /// Soon again.
    #[error("{0}")]
    Broken(String),
    /// Trying soon is useless: the server doesn't speak MQTT here, or doesn't let this certificate in.
    #[error("{0}")]
    Refused(String),
    /// The agent ended.
    #[error("the agent ended")]
    Over,
}

impl From<std::io::Error> for Gone {
    fn from(error: std::io::Error) -> Self {
        Gone::Broken(error.to_string())
    }
}

async fn hold(place: Place, mut asks: mpsc::Receiver<Ask>, state: watch::Sender<State>, news: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let ended = match timeout(CONNECT, connect(&place)).await {
            Ok(Ok(mut connection)) => {
                failures = 0;
                info!(host = place.host, port = place.port, "connected over MQTT");
                state.send_replace(State::Up);
                news.notify_one();
                connection.serve(&mut asks, &news).await
            }
            Ok(Err(gone)) => gone,
            Err(_) => Gone::Broken("no connection in time".into()),
        };
        state.send_replace(State::Down);
        failures += 1;
        let pause = match &ended {
            Gone::Over => return,
            Gone::Broken(_) => backoff(failures, MOST_PAUSE),
            Gone::Refused(_) => backoff(16, MOST_PAUSE),
        };
        debug!(error = %ended, seconds = pause.as_secs_f32(), "no MQTT now: HTTPS is used, and MQTT tried again after a pause");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Nobody asks while it is down; a closed channel means that the agent is gone.
            ask = asks.recv() => if ask.is_none() { return },
        }
    }
}

async fn connect(place: &Place) -> Result<Connected, Gone> {
    let line = Line::open(place, KEEP_ALIVE).await?;
    let prefix = format!("$aws/things/{}/jobs/", place.client_id);
    let mut connection = Connected { line, prefix, under_way: None, next_token: 0 };
    let subscribe = packets::subscribe(&format!("{}notify-next", connection.prefix)).map_err(Gone::Refused)?;
    connection.line.stream.write_all(&subscribe).await?;
    // Refused or not: jobs are asked for anyway, only later.
    match connection.line.read().await? {
        Incoming::Suback(code) => debug!(code, "subscribed to notify-next"),
        other => debug!(?other, "no SUBACK"),
    }
    Ok(connection)
}

/// A request that waits for its answer.
struct UnderWay {
    topic: String,
    token: String,
    reply: oneshot::Sender<Reply>,
    until: Instant,
}

struct Connected {
    line: Line,
    prefix: String,
    under_way: Option<UnderWay>,
    next_token: u64,
}

impl Connected {
    async fn serve(&mut self, asks: &mut mpsc::Receiver<Ask>, news: &Notify) -> Gone {
        let mut ping = Instant::now() + PING;
        let mut silent_until: Option<Instant> = None;
        loop {
            let answer_until = self.under_way.as_ref().map(|one| one.until);
            let deadline = [Some(ping), silent_until, answer_until].into_iter().flatten().min().unwrap_or(ping);
            let outcome = tokio::select! {
                packet = self.line.read() => {
                    silent_until = None;
                    match packet {
                        Ok(packet) => self.take(packet, news).await,
                        Err(gone) => Err(gone),
                    }
                }
                ask = asks.recv(), if self.under_way.is_none() => match ask {
                    Some(ask) => self.ask(ask).await,
                    None => {
                        let _ = self.line.stream.write_all(&packets::DISCONNECT).await;
                        Err(Gone::Over)
                    }
                },
                () = tokio::time::sleep_until(deadline) => {
                    let now = Instant::now();
                    if answer_until.is_some_and(|until| now >= until) || silent_until.is_some_and(|until| now >= until) {
                        // Half open: nothing comes, and nothing says so.
                        Err(Gone::Broken("the server doesn't answer".into()))
                    } else {
                        (ping, silent_until) = (now + PING, silent_until.or(Some(now + ANSWER)));
                        self.line.stream.write_all(&packets::PINGREQ).await.map_err(Gone::from)
                    }
                }
            };
            if let Err(gone) = outcome {
                return gone;
            }
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), Gone> {
        let Ask { request, mut body, reply } = ask;
        self.next_token += 1;
        let token = format!("sl-{}", self.next_token);
        body.insert("clientToken".into(), token.clone().into());
        let topic = format!("{}{request}", self.prefix);
        let id = u16::try_from(self.next_token % 65_535).unwrap_or(0) + 1;
        let bytes = packets::publish(&topic, id, Value::Object(body).to_string().into_bytes()).map_err(Gone::Broken)?;
        self.under_way = Some(UnderWay { topic, token, reply, until: Instant::now() + ANSWER });
        self.line.stream.write_all(&bytes).await?;
        Ok(self.line.stream.flush().await?)
    }

    async fn take(&mut self, packet: Incoming, news: &Notify) -> Result<(), Gone> {
        match packet {
            Incoming::Publish { topic, id, payload } => {
                if let Some(id) = id {
                    let [high, low] = id.to_be_bytes();
                    self.line.stream.write_all(&[0x40, 2, high, low]).await?;
                }
                if topic.strip_prefix(&self.prefix) == Some("notify-next") {
                    news.notify_one();
                } else {
                    self.answered(&topic, &payload);
                }
                Ok(())
            }
            Incoming::Disconnect(code) => Err(Gone::Broken(format!("the server said goodbye with {code:#04x}"))),
            Incoming::Connack(_) => Err(Gone::Broken("a second CONNACK".into())),
            Incoming::Suback(_) | Incoming::Other => Ok(()),
        }
    }

    /// Hands an answer to the one who waits for it; another's, or a late one, is nobody's.
    fn answered(&mut self, topic: &str, payload: &[u8]) {
        let Some(waiting) = &self.under_way else { return };
        let Some(verdict) = topic.strip_prefix(&waiting.topic) else { return };
        let Ok(body) = serde_json::from_slice::<Value>(payload) else { return };
        if body["clientToken"] != waiting.token {
            return;
        }
        let reply = match verdict {
            "/accepted" => Some(Reply::Accepted(body)),
            "/rejected" => serde_json::from_value(body).ok().map(Reply::Rejected),
            _ => None,
        };
        if let (Some(reply), Some(waiting)) = (reply, self.under_way.take()) {
            let _ = waiting.reply.send(reply);
        }
    }
}
