//! `sealift-server serve`.

use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{BAD_FILE, Common, FAILED, Failure, USAGE, output, policy};
use crate::control::{self, Operators, Remote};
use crate::endpoint::{self, App, Limits, Links, Listening, Serves};
use crate::engine::{Engine, OpenError, system_clock};
use crate::jobs::Effect;
use crate::mqtt::{self, Broker};
use crate::pki::Authority;
use crate::rollout::Rollouts;
use crate::rollout::document::Locations;
use crate::service::LocalJobs;
use crate::store::LocalStore;
use crate::watching::{self, profile::SecurityProfile};

/// How often open rollouts are looked at: gates pass, lost calls are repeated.
const RECONCILE: Duration = Duration::from_secs(10);
/// Pause after something ended, before rollouts are looked at.
const SETTLE: Duration = Duration::from_millis(100);
/// How often the server makes itself a new certificate; each is good for three times as long.
const RENEW: Duration = Duration::from_secs(30 * 24 * 3_600);

/// AWS IoT's ports for HTTPS with certificates and for MQTT.
const PORTS: (u16, u16) = (8443, 8883);

/// Run the device endpoint: AWS IoT's MQTT and HTTPS data planes of Jobs, the repository and enrolment.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server serve --state ./state
  sealift-server serve --state ./state --listen 0.0.0.0:8443 --name updates.example.com
  sealift-server serve --state ./state --listen 127.0.0.1:0 --json   # any free ports; the ready line names them
  sealift-server serve --state ./state --listen 0.0.0.0:443 --mqtt-listen 0.0.0.0:8883

MQTT 3.1.1 and 5 are spoken on the port of --mqtt-listen, and on the port of --listen with clients that ask
for it by ALPN (x-amzn-mqtt-ca), as on AWS IoT's port 443.

The state directory holds the database, published files and a development CA made on first start
(ca/ca.pem is what devices are given to trust). Logs are JSON lines on stderr; SEALIFT_LOG sets their
level (for example SEALIFT_LOG=debug). SIGTERM and SIGINT stop the server after open requests end.")]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) common: Common,
    /// Address and port to listen on; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Address and port for MQTT [default: the address of --listen, with port 8883 beside 8443, else any free one].
    #[arg(long, value_name = "ADDR:PORT")]
    mqtt_listen: Option<SocketAddr>,
    /// Messages one client may publish in a second (AWS IoT: 100). Ten times as many end the connection.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    publish_rate: u32,
    /// A further name or address of this server, for its certificate (localhost, 127.0.0.1 and ::1 are always in it).
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Origin to put into job documents, when devices reach the server under another name than they connect to.
    #[arg(long, value_name = "https://HOST[:PORT]")]
    public_url: Option<String>,
    /// Also answer the control API on this address, over HTTPS, to operators with a token or a certificate
    /// (`sealift-server operators add`). Without it, only on this machine.
    #[arg(long, value_name = "ADDR:PORT")]
    control_listen: Option<SocketAddr>,
    /// Serve /metrics for Prometheus on this address, in plain HTTP: choose one that nobody else reaches.
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// What is normal for a device, as JSON in the shape of AWS IoT's CreateSecurityProfile; one profile or a list. Without it,
    /// any failed verification raises an alert, and more refusals, strangers or messages than usual.
    #[arg(long, value_name = "FILE")]
    security_profiles: Option<std::path::PathBuf>,
    /// Requests a second that each operator may make of it; five seconds' worth at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    control_rate: u32,
    /// Accept releases signed with published example keys. For development only.
    #[arg(long)]
    development: bool,
    /// Most connections open at once.
    #[arg(long, default_value_t = Limits::default().connections, value_name = "N")]
    max_connections: usize,
    /// Seconds a client may take for a request's head, its body, or to accept any part of an answer.
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    client_timeout: u64,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_from_env("SEALIFT_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
        let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        if let Some(url) = self.public_url.as_deref().filter(|url| !is_origin(url)) {
            return Err(Failure::new(USAGE, format!("--public-url {url}: expected https://HOST or https://HOST:PORT")));
        }
        let state = self.common.state()?;
        private_folder(state)?;
        let opened = Engine::open(&state.join("ledger.redb"), system_clock());
        let (engine, ledger) = opened.map_err(|error| match error {
            OpenError::InUse { .. } => Failure::new(FAILED, error),
            _ => Failure::new(BAD_FILE, error),
        })?;
        engine.watch().begin(state, self.profiles()?);
        let authority = Arc::new(Authority::open(&state.join("ca"))?);
        let store = LocalStore::open(&state.join("artifacts")).map_err(|e| Failure::new(FAILED, e))?;
        let limits = self.limits();
        let names = self.certificate_names();
        let tls = endpoint::server_config(&authority, authority.issue_server(&names)?)?;
        let (certificate, trust) = (tls.certificate, tls.trust);
        if !trust.refresh(&engine).await {
            return Err(Failure::new(FAILED, "the registered CAs can't be read"));
        }
        raise_open_files();
        let (listener, address) = bind(self.listen).await?;
        let (mqtt_listener, mqtt_address) = bind(self.mqtt_address()).await?;
        let url = self.url(address);
        let links = Arc::new(Links::open(&state.join("ca"), self.public_url.clone(), url.clone())?);
        let broker = Broker::new(engine.clone(), self.mqtt_limits(), links.clone(), authority.clone(), system_clock());
        let control = control::listen(state).map_err(|e| Failure::new(FAILED, e))?;
        let app = Arc::new(App {
            engine,
            store,
            authority,
            trust: trust.clone(),
            limits,
            clock: system_clock(),
            policy: policy(self.development),
            links,
            broker: broker.clone(),
        });
        let (stopper, stop) = watch::channel(false);
        let listening = Listening { listener, tls: tls.https, trust: trust.clone(), limits, stop: stop.clone() };
        let both = Serves::Both(endpoint::router(app.clone()), broker.clone());
        let devices = tokio::spawn(endpoint::serve(listening, both));
        let listening = Listening { listener: mqtt_listener, tls: tls.mqtt, trust, limits, stop: stop.clone() };
        let messages = tokio::spawn(endpoint::serve(listening, Serves::Mqtt(broker.clone())));
        let watching = tokio::spawn(watching::task::attend(app.engine.watch().clone(), system_clock(), stop.clone()));
        let (metrics, metrics_address) = match self.metrics_listen {
            Some(at) => {
                let (listener, address) = bind(at).await?;
                let serving =
                    watching::task::metrics(listener, app.engine.watch().clone(), broker.clone(), stop.clone());
                (Some(tokio::spawn(serving)), Some(address))
            }
            None => (None, None),
        };
        let attendant = tokio::spawn(mqtt::attend(broker, stop.clone()));
        let who = Arc::new(Operators::open(state)?);
        let routes = control::router(app.clone(), who.clone());
        let (remote, control_address) = match self.control_listen {
            Some(at) => {
                let (listener, address) = bind(at).await?;
                let (clock, rate, stop) = (system_clock(), self.control_rate, stop.clone());
                let remote = Remote { listener, operators: who, clock, rate, limits, stop };
                let serving = control::start(remote, app.clone(), names.clone(), routes.clone())?;
                (Some(tokio::spawn(serving)), Some(address))
            }
            None => (None, None),
        };
        let operators = tokio::spawn(endpoint::serve_unix(control, routes, limits, stop.clone()));
        let reconciler = tokio::spawn(reconcile(app.clone(), stop.clone()));
        let renewal = {
            let (app, names) = (app.clone(), names.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(RENEW).await;
                    match app.authority.issue_server(&names).and_then(|made| certificate.replace(made)) {
                        Ok(()) => tracing::info!("the server's certificate was renewed"),
                        Err(error) => tracing::error!(%error, "the server's certificate couldn't be renewed"),
                    }
                }
            })
        };
        self.announce((address, mqtt_address), (control_address, metrics_address), &url, state);
        wait_for_signal().await?;
        tracing::info!("stopping");
        let _ = stopper.send(true);
        renewal.abort();
        let _ = tokio::join!(devices, messages, attendant, operators, reconciler, watching);
        if let Some(metrics) = metrics {
            let _ = metrics.await;
        }
        if let Some(remote) = remote {
            let _ = remote.await;
        }
        // The database closes when its thread ends, which is when nobody can ask it any more.
        drop(app);
        let _ = tokio::task::spawn_blocking(move || ledger.join()).await;
        tracing::info!("stopped");
        Ok(())
    }

    fn profiles(&self) -> Result<Vec<SecurityProfile>, Failure> {
        let Some(path) = &self.security_profiles else { return Ok(watching::profile::default()) };
        let bad = |e: &dyn std::fmt::Display| Failure::new(BAD_FILE, format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| bad(&e))?;
        watching::profile::from_json(&text).map_err(|e| bad(&e))
    }

    fn limits(&self) -> Limits {
        let time = Duration::from_secs(self.client_timeout);
        Limits { connections: self.max_connections.max(1), head: time, body: time, stall: time, ..Limits::default() }
    }

    fn mqtt_limits(&self) -> mqtt::Limits {
        let stall = Duration::from_secs(self.client_timeout);
        let connections = self.max_connections.max(1);
        mqtt::Limits { connections, stall, packet: stall, publishes: self.publish_rate, ..mqtt::Limits::default() }
    }

    fn mqtt_address(&self) -> SocketAddr {
        let port = if self.listen.port() == PORTS.0 { PORTS.1 } else { 0 };
        self.mqtt_listen.unwrap_or_else(|| SocketAddr::new(self.listen.ip(), port))
    }

    fn certificate_names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        if !self.listen.ip().is_unspecified() {
            names.push(self.listen.ip().to_string());
        }
        names.extend(self.names.iter().cloned());
        // Who reaches the server by its public URL asks for that name.
        names.extend(self.public_url.as_deref().and_then(host).map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    /// The origin that devices are told.
    fn url(&self, address: SocketAddr) -> String {
        let name = self.names.first().cloned().unwrap_or_else(|| match self.listen.ip() {
            ip if ip.is_unspecified() => "localhost".into(),
            ip if ip.is_ipv6() => format!("[{ip}]"),
            ip => ip.to_string(),
        });
        self.public_url.clone().unwrap_or_else(|| format!("https://{name}:{}", address.port()))
    }

    /// The ready line: tests and scripts wait for it.
    fn announce(
        &self,
        (address, mqtt): (SocketAddr, SocketAddr),
        (control, metrics): (Option<SocketAddr>, Option<SocketAddr>),
        url: &str,
        state: &Path,
    ) {
        let ca = state.join("ca").join("ca.pem");
        if self.common.json {
            output::json(&serde_json::json!({
                "ready": true,
                "listen": address.to_string(),
                "port": address.port(),
                "mqttListen": mqtt.to_string(),
                "mqttPort": mqtt.port(),
                "url": url,
                "ca": ca.display().to_string(),
                "pid": std::process::id(),
                "control": control.map(|control| control.to_string()),
                "metrics": metrics.map(|metrics| metrics.to_string()),
            }));
        } else {
            let ca = ca.display();
            output::line(&format!("ready: {url} (HTTPS on {address}, MQTT on {mqtt}; devices trust {ca})"));
        }
        tracing::info!(%address, %mqtt, url, "ready");
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|e| Failure::new(FAILED, format!("can't listen on {address}: {e}")))?;
    let address = listener.local_addr().map_err(|e| Failure::new(FAILED, e))?;
    Ok((listener, address))
}

/// Each connection is an open file, and shells allow few.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files couldn't be raised");
    }
}

/// The host name of an origin; `None` for an address.
fn host(origin: &str) -> Option<&str> {
    let host = origin.strip_prefix("https://")?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (!host.starts_with('[') && host.parse::<std::net::IpAddr>().is_err()).then_some(host)
}

fn is_origin(url: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    url.strip_prefix("https://").is_some_and(|host| !host.is_empty() && host.bytes().all(plain))
}

/// The state directory holds keys: it is made for its owner only, and said to be too open otherwise.
fn private_folder(state: &Path) -> Result<(), Failure> {
    let failed = |act: &str, e: std::io::Error| Failure::new(FAILED, format!("{}: can't {act}: {e}", state.display()));
    if !state.exists() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
        made.map_err(|e| failed("make the state directory", e))?;
    }
    let metadata = std::fs::metadata(state).map_err(|e| failed("look at the state directory", e))?;
    if !metadata.is_dir() {
        return Err(Failure::new(USAGE, format!("--state {}: not a directory", state.display())));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        let message = format!(
            "{}: mode {mode:03o} lets others put files into the state directory; run `chmod 700 {}`",
            state.display(),
            state.display()
        );
        return Err(Failure::new(BAD_FILE, message));
    }
    Ok(())
}

async fn wait_for_signal() -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|e| Failure::new(FAILED, format!("can't listen for signals: {e}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Carries open rollouts on: what a killed server or a lost call left undone is done here.
async fn reconcile(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let jobs = LocalJobs(app.engine.clone());
    let actor = "reconciler of sealift-server serve".to_owned();
    let rollouts =
        Rollouts { store: &app.store, jobs: &jobs, locations: Locations::local(), policy: app.policy, actor };
    loop {
        // Listening begins before looking, so that nothing falls between the two.
        let mut effects = app.engine.effects();
        match rollouts.names().await {
            Ok(names) => {
                for name in names {
                    if let Err(error) = rollouts.carry_on(&name, (app.clock)()).await {
                        tracing::warn!(rollout = name, %error, "a rollout can't be carried on now");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "rollouts can't be listed"),
        }
        // Something ended: a gate may have passed, or a threshold may have been reached.
        let stirred = async {
            while let Ok(effect) = effects.recv().await {
                if matches!(effect, Effect::ExecutionEnded { .. } | Effect::JobEnded(_)) {
                    break;
                }
            }
            // What ends together is looked at together.
            tokio::time::sleep(SETTLE).await;
        };
        tokio::select! {
            () = stirred => {}
            () = tokio::time::sleep(RECONCILE) => {}
            _ = stop.changed() => return,
        }
    }
}
