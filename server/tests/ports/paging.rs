//! A fleet of a million things, page by page: what is planned over it fits into the same memory as a small one.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{World, answer, path};

/// A job service with hundred groups of `each` things, told in pages of at most 250 as AWS does.
struct Fleet {
    each: u64,
    told: AtomicU64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    max_results: Option<u64>,
    next_token: Option<u64>,
}

async fn pages(State(fleet): State<Arc<Fleet>>, Path(group): Path<String>, Query(page): Query<Page>) -> Response {
    if !group.starts_with("sealift-thermostat-bucket-") {
        return (axum::http::StatusCode::NOT_FOUND, [("x-amzn-errortype", "ResourceNotFoundException")], "{}")
            .into_response();
    }
    fleet.told.fetch_add(1, Ordering::Relaxed);
    let (from, most) = (page.next_token.unwrap_or(0), page.max_results.unwrap_or(25).min(250));
    let to = (from + most).min(fleet.each);
    let names: Vec<String> = (from..to).map(|n| format!("{group}-a-thing-with-a-name-of-some-length-{n:08}")).collect();
    let next = (to < fleet.each).then(|| to.to_string());
    axum::Json(json!({ "things": names, "nextToken": next })).into_response()
}

/// Runs `rollout plan` over a fleet of this size; what it said, and its peak memory in KiB.
fn plan(world: &World, things: u64) -> (Value, u64, u64) {
    let fleet = Arc::new(Fleet { each: things / 100, told: AtomicU64::new(0) });
    let app = Router::new().route("/thing-groups/{group}/things", axum::routing::get(pages)).with_state(fleet.clone());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
    });
    let waves = "[[wave]]\nname = \"first\"\npercent = 10\n[[wave]]\nname = \"all\"\npercent = 100\n";
    let file = world.plan(waves);
    let plain = world.command(&["rollout", "plan", path(&file)]);
    // The shell tells the peak of its child: no process may read it of one that has ended.
    let mut command = Command::new("python3");
    command.args(["-c", "import resource,subprocess,sys; code=subprocess.call(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"]);
    let proxy = world.proxy.endpoint.as_str();
    let arguments = plain.get_args().filter(|argument| *argument != "--endpoint-url" && *argument != proxy);
    command.arg(plain.get_program()).args(arguments);
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // S3 and STS as before, AWS IoT from here: as AWS's own tools are told.
    let output = command.env("AWS_ENDPOINT_URL", proxy).env("AWS_ENDPOINT_URL_IOT", &endpoint).output().unwrap();
    let (said, exit) = answer(&output);
    assert_eq!(exit, 0, "{said}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let peak = errors.lines().last().unwrap().trim().parse().unwrap();
    (said, peak, fleet.told.load(Ordering::Relaxed))
}

#[test]
fn a_plan_over_a_million_things_takes_no_more_memory_than_one_over_a_thousand() {
    let world = World::new();
    world.publish();
    let (small, before, _) = plan(&world, 1_000);
    let (large, after, pages) = plan(&world, 1_000_000);
    assert_eq!((&small["devices"], &large["devices"]), (&json!(1_000), &json!(1_000_000)));
    assert_eq!(large["waves"][0]["devices"], 100_000);
    println!("a plan over 1,000 things: {before} KiB at most; over 1,000,000 in {pages} pages: {after} KiB");
    assert!(after < before + 8 * 1_024, "{before} KiB -> {after} KiB");
}
