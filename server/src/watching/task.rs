//! What the watch does by itself: judging, keeping, and the page for Prometheus.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch::Receiver;

use super::{Watch, prometheus};
use crate::engine::Clock;
use crate::mqtt::Broker;

/// How often devices are held to the profiles.
const JUDGE: Duration = Duration::from_secs(5);
/// How often what is known is written down.
const KEEP: u64 = 12;

/// Judges and keeps until the stop signal.
pub async fn attend(watch: Arc<Watch>, clock: Clock, mut stop: Receiver<bool>) {
    let mut turn = 0_u64;
    loop {
        let stopping = tokio::select! {
            () = tokio::time::sleep(JUDGE) => false,
            _ = stop.changed() => true,
        };
        let (again, now) = (watch.clone(), clock());
        // A hundred thousand devices take a while to go through.
        let _ = tokio::task::spawn_blocking(move || again.judge(now)).await;
        turn += 1;
        if (stopping || turn.is_multiple_of(KEEP))
            && let Some((path, bytes)) = watch.to_keep()
        {
            let kept = tokio::task::spawn_blocking(move || replace(&path, &bytes)).await;
            if let Ok(Err(error)) = kept {
                tracing::warn!(%error, "who was heard when couldn't be written down");
            }
        }
        if stopping {
            return;
        }
    }
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Serves `/metrics` and `/healthz` in plain HTTP until the stop signal: bind it to an address that only your Prometheus reaches.
pub async fn metrics(listener: TcpListener, watch: Arc<Watch>, broker: Arc<Broker>, mut stop: Receiver<bool>) {
    let page = move || {
        let page = prometheus::page(&watch.totals(), &broker.counters.snapshot(), env!("CARGO_PKG_VERSION"));
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page) }
    };
    let router = Router::new().route("/metrics", get(page)).route("/healthz", get(async || "ok\n"));
    let limits = crate::endpoint::Limits::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((socket, address)) => {
                let (router, stop) = (router.clone(), stop.clone());
                let stream = crate::endpoint::Stall::new(socket, limits.stall);
                tokio::spawn(async move { crate::endpoint::http(stream, router, limits, stop, Some(address)).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for the metrics couldn't be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
