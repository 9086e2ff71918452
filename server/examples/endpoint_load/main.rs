//! Load on the local endpoint, by real connections to the real binary: `cargo xtask bench endpoint` runs it.
//!
//! A state directory with many things is made first, by the server's own code; then the server is started on it and
//! everything goes over mutual TLS. Client and server share the machine, and both are in the figures' way.

#![allow(missing_docs, unreachable_pub, reason = "a tool of this project's own")]

mod client;
mod fleet;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use client::Client;
use fleet::Fleet;

/// Measures connections, their memory, and durable job cycles.
#[derive(Parser)]
struct Options {
    /// The server's binary, built with `--release`.
    #[arg(long)]
    server: PathBuf,
    /// Things that connect and stay.
    #[arg(long, default_value_t = 10_000)]
    things: usize,
    /// Connections being made at a time.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    /// Things that work on jobs.
    #[arg(long, default_value_t = 500)]
    workers: usize,
    /// Jobs for each of them.
    #[arg(long, default_value_t = 20)]
    jobs: usize,
    /// Fail when a figure misses: 10,000 idle in 400 MB, 1,000 connects and 1,000 cycles a second.
    #[arg(long)]
    check: bool,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Server {
    child: Child,
    mqtt: u16,
}

impl Server {
    fn start(options: &Options, state: &std::path::Path) -> Outcome<Self> {
        let log = std::fs::File::create(state.with_extension("log"))?;
        let mut child = Command::new(&options.server)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .args(["--max-connections", "100000"])
            .env("SEALIFT_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let mqtt = ready["mqttPort"].as_u64().ok_or("no MQTT port")?;
        Ok(Self { child, mqtt: mqtt.try_into()? })
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }
}

/// Processor time of a process so far, in seconds: unlike a rate, it doesn't depend on what else runs.
fn processor(id: &str) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in parentheses, may hold anything; after it, user and system time are the 12th and 13th fields.
    let fields: Vec<&str> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    let ticks = |at: usize| -> Outcome<f64> { Ok(fields.get(at).ok_or("no time")?.parse()?) };
    // Linux gives it in hundredths of a second, whatever its own clock.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

impl Server {
    /// Processor time of server and client together.
    fn both(&self) -> Outcome<f64> {
        Ok(processor(&self.child.id().to_string())? + processor("self")?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::parse();
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    let home = tempfile::tempdir()?;
    let state = home.path().join("state");
    eprintln!("making {} things", options.things);
    let fleet = Arc::new(Fleet::make(&state, options.things, options.workers).await?);
    let server = Server::start(&options, &state)?;
    let empty = server.memory()?;

    eprintln!("connecting");
    let (start, before) = (Instant::now(), server.both()?);
    let clients = connect_all(&fleet, server.mqtt, options.at_once).await?;
    let took = start.elapsed();
    let connecting = server.both()? - before;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = server.memory()?;
    let connects = options.things as f64 / took.as_secs_f64();

    eprintln!("working");
    let before = server.both()?;
    let (cycles, took) = work(&options, &state, &fleet, server.mqtt).await?;
    let per_second = cycles as f64 / took.as_secs_f64();
    let working = server.both()? - before;
    let after = server.memory()?;
    drop(clients);

    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "{}",
        json!({
            "things": options.things,
            "connectsPerSecond": connects.round(),
            "processorMicrosecondsPerConnect": (connecting * 1e6 / options.things as f64).round(),
            "memoryEmptyMB": megabytes(empty).round(),
            "memoryIdleMB": megabytes(idle).round(),
            "bytesPerConnection": (idle.saturating_sub(empty)) / options.things as u64,
            "jobCycles": cycles,
            "jobCyclesPerSecond": per_second.round(),
            "processorMicrosecondsPerCycle": (working * 1e6 / cycles.max(1) as f64).round(),
            "memoryAfterMB": megabytes(after).round(),
        })
    );
    if options.check {
        let mut missed = Vec::new();
        let most = 400.0 * options.things as f64 / 10_000.0;
        for (what, holds) in [
            (format!("memory: {:.0} MB of {most:.0}", megabytes(idle)), megabytes(idle) <= most),
            (format!("connects: {connects:.0} of 1000 a second"), connects >= 1_000.0),
            (format!("job cycles: {per_second:.0} of 1000 a second"), per_second >= 1_000.0),
        ] {
            eprintln!("{} {what}", if holds { "met   " } else { "MISSED" });
            if !holds {
                missed.push(what);
            }
        }
        if !missed.is_empty() {
            return Err(format!("missed: {}", missed.join("; ")).into());
        }
    }
    Ok(())
}

async fn connect_all(fleet: &Arc<Fleet>, port: u16, at_once: usize) -> Outcome<Vec<Client>> {
    let slots = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for number in 0..fleet.len() {
        let slot = slots.clone().acquire_owned().await?;
        let fleet = fleet.clone();
        tasks.spawn(async move {
            let _slot = slot;
            Client::connect(&fleet, number, port, "").await
        });
    }
    let mut clients = Vec::with_capacity(fleet.len());
    while let Some(done) = tasks.join_next().await {
        clients.push(done??);
    }
    Ok(clients)
}

/// Every worker does every job: notify-next, start-next, two updates in progress, SUCCEEDED; each answer is waited for.
async fn work(options: &Options, state: &std::path::Path, fleet: &Arc<Fleet>, port: u16) -> Outcome<(u64, Duration)> {
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let ready = Arc::new(Semaphore::new(0));
    for number in 0..options.workers {
        let (fleet, done, ready, jobs) = (fleet.clone(), done.clone(), ready.clone(), options.jobs);
        tasks.spawn(async move {
            // Beside the idle connection of the same thing.
            let mut client = Client::connect(&fleet, number, port, "-worker").await?;
            client.subscribe("notify-next").await?;
            ready.add_permits(1);
            for _ in 0..jobs {
                let job = loop {
                    // Told of a next job, or one is there already.
                    let answer = client.ask("start-next", &json!({})).await?;
                    match answer["execution"]["jobId"].as_str() {
                        Some(job) => break job.to_owned(),
                        None => client.told().await?,
                    }
                };
                let update = format!("{job}/update");
                for step in ["download", "install"] {
                    let body = json!({"status": "IN_PROGRESS", "statusDetails": {"step": step}});
                    client.ask(&update, &body).await?;
                }
                client.ask(&update, &json!({"status": "SUCCEEDED"})).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Ok(())
        });
    }
    let _all = ready.acquire_many(options.workers.try_into()?).await?;
    let document = state.with_extension("document.json");
    std::fs::write(&document, json!({"hello": "world"}).to_string())?;
    let start = Instant::now();
    for number in 0..options.jobs {
        let mut create = Command::new(&options.server);
        create.args(["jobs", "create", "--group", "workers", "--id", &format!("load-{number}"), "--document"]);
        create.arg(&document).arg("--state").arg(state);
        let made = tokio::task::spawn_blocking(move || create.output()).await??;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
        }
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok((done.load(Ordering::Relaxed), start.elapsed()))
}
