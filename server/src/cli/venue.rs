//! Where a command acts: at the server on a state directory, or in a cloud account. What can be asked is the same.

use std::path::PathBuf;

use clap::Args;
use sealift_jobs::ThingName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cloud::CloudArgs;
use super::{Elsewhere, Failure};
#[cfg(feature = "aws")]
use super::{USAGE, cloud::Cloud};
use crate::control::Client;
use crate::rollout::{Explained, NewRollout, Overview, PayloadFacts, Preview, Status};
#[cfg(feature = "aws")]
use crate::{
    aws::{IotJobs, S3Store},
    engine::system_clock,
    rollout::{Rollouts, document::Locations},
};

/// A server's state directory, or a bucket.
#[derive(Clone, Debug, Args)]
#[group(id = "venue", required = true, multiple = false, args = ["state", "bucket", "server"])]
pub(super) struct Venue {
    /// The server's state directory.
    #[arg(long, env = "SEALIFT_STATE", value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// An S3 bucket, with AWS IoT beside it (builds with the cargo feature `aws`).
    #[arg(long, env = "SEALIFT_BUCKET", value_name = "NAME")]
    pub(super) bucket: Option<String>,
    #[command(flatten)]
    pub(super) elsewhere: Elsewhere,
    #[command(flatten)]
    pub(super) cloud: CloudArgs,
    /// Accept releases signed with published example keys. For development only; a running server has its own switch.
    #[arg(long = "development", hide = true)]
    pub(super) development: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What the devices of a rollout through AWS are told.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Places {
    /// With --bucket: the role in whose name AWS IoT presigns payloads (`aws stack` makes one).
    #[arg(long, env = "SEALIFT_PRESIGN_ROLE", value_name = "ARN")]
    presign_role: Option<String>,
    /// With --bucket: where devices read metadata, with a closing slash; without it, the bucket's own HTTPS address.
    #[arg(long, env = "SEALIFT_METADATA_URL", value_name = "URL")]
    metadata_url: Option<String>,
}

/// Whom a command asks.
pub(super) enum Operator {
    /// The server that runs on a state directory.
    Server(Client),
    /// Nobody: this process does it itself, on the state that the bucket keeps.
    #[cfg(feature = "aws")]
    Cloud(Box<InCloud>),
}

/// Rollouts in an account.
#[cfg(feature = "aws")]
pub(super) struct InCloud {
    cloud: Cloud,
    policy: sealift_verifier::trust::Policy,
    locations: Locations,
}

#[cfg(feature = "aws")]
impl InCloud {
    fn rollouts(&self) -> Rollouts<'_, S3Store, IotJobs> {
        let Cloud { store, jobs, actor, .. } = &self.cloud;
        let (policy, actor) = (self.policy, actor.clone());
        Rollouts { store, jobs, locations: self.locations.clone(), policy, actor }
    }
}

#[cfg(feature = "aws")]
fn now() -> u64 {
    (system_clock())()
}

impl Venue {
    /// Refuses a server elsewhere, for what works on files.
    pub(super) fn not_elsewhere(&self) -> Result<(), Failure> {
        match self.elsewhere.server {
            Some(_) => {
                Err(Failure::new(super::USAGE, "--server: this works on files; run it beside them, with --state"))
            }
            None => Ok(()),
        }
    }

    /// Opens it.
    pub(super) async fn open(self, places: Option<Places>) -> Result<Operator, Failure> {
        if let Some(client) = self.elsewhere.client()? {
            return Ok(Operator::Server(client));
        }
        match (self.state, self.bucket) {
            (Some(state), _) => Ok(Operator::Server(Client::new(&state))),
            (None, bucket) => {
                let cloud = self.cloud.open(bucket.unwrap_or_default()).await?;
                in_cloud(cloud, places, self.development)
            }
        }
    }
}

#[cfg(feature = "aws")]
fn in_cloud(cloud: Cloud, places: Option<Places>, development: bool) -> Result<Operator, Failure> {
    let locations = match places {
        // Rollouts that are there have their own on record.
        None => Locations::local(),
        Some(places) => {
            let role = places.presign_role.ok_or_else(|| {
                Failure::new(USAGE, "--presign-role: AWS IoT needs a role to presign payloads with; `sealift-server aws stack` makes one")
            })?;
            let region = cloud.session.region().unwrap_or_default().to_owned();
            let (bucket, prefix) = (&cloud.bucket, &cloud.prefix);
            let metadata = places.metadata_url.unwrap_or_else(|| match cloud.session.endpoint() {
                Some(endpoint) => format!("{}/{bucket}/{prefix}metadata/", endpoint.trim_end_matches('/')),
                None => format!("https://{bucket}.s3.{region}.amazonaws.com/{prefix}metadata/"),
            });
            if !metadata.ends_with('/') {
                return Err(Failure::new(USAGE, format!("--metadata-url {metadata}: must end with a slash")));
            }
            Locations::bucket(metadata, &region, bucket, prefix, role)
        }
    };
    Ok(Operator::Cloud(Box::new(InCloud { cloud, policy: super::policy(development), locations })))
}

#[cfg(not(feature = "aws"))]
fn in_cloud(cloud: std::convert::Infallible, _: Option<Places>, _: bool) -> Result<Operator, Failure> {
    match cloud {}
}

/// What the server answers to a new rollout.
#[derive(serde::Deserialize, Serialize)]
pub(super) struct Made {
    /// The rollout.
    #[serde(flatten)]
    pub(super) overview: Overview,
    /// Whether it is new.
    pub(super) created: bool,
}

impl Operator {
    /// Makes a rollout.
    pub(super) async fn create(&self, wish: &NewRollout) -> Result<Made, Failure> {
        match self {
            Self::Server(client) => Ok(client.post("/v1/rollouts", wish).await?),
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => {
                let (overview, created) = cloud.rollouts().create(wish, now()).await?;
                Ok(Made { overview, created })
            }
        }
    }

    /// Tells what a wish would do.
    pub(super) async fn preview(&self, wish: &NewRollout) -> Result<Preview, Failure> {
        match self {
            Self::Server(client) => Ok(client.post("/v1/rollouts/preview", wish).await?),
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().preview(wish, now()).await?),
        }
    }

    /// A rollout with its devices.
    pub(super) async fn status(&self, name: &str) -> Result<Status, Failure> {
        match self {
            Self::Server(client) => get(client, name).await,
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().status(name, now()).await?),
        }
    }

    /// A rollout, without its devices where that spares looking at each.
    pub(super) async fn overview(&self, name: &str) -> Result<Overview, Failure> {
        match self {
            Self::Server(client) => Ok(get::<Status>(client, name).await?.overview),
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().overview(name, now()).await?),
        }
    }

    /// All rollouts.
    pub(super) async fn list(&self) -> Result<Vec<Overview>, Failure> {
        match self {
            Self::Server(client) => Ok(client.get("/v1/rollouts").await?),
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => {
                let rollouts = cloud.rollouts();
                let mut all = Vec::new();
                for name in rollouts.names().await? {
                    all.push(rollouts.overview(&name, now()).await?);
                }
                all.sort_by_key(|overview| overview.created_at);
                Ok(all)
            }
        }
    }

    /// Cancels a rollout.
    pub(super) async fn cancel(&self, name: &str, force: bool, comment: &str) -> Result<Overview, Failure> {
        match self {
            Self::Server(client) => {
                post(client, name, "cancel", &serde_json::json!({ "force": force, "comment": comment })).await
            }
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().cancel(name, force, comment, now()).await?),
        }
    }

    /// Pauses a rollout.
    pub(super) async fn pause(&self, name: &str, comment: &str) -> Result<Overview, Failure> {
        match self {
            Self::Server(client) => post(client, name, "pause", &serde_json::json!({ "comment": comment })).await,
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().pause(name, comment, now()).await?),
        }
    }

    /// Goes on with a rollout.
    pub(super) async fn resume(&self, name: &str) -> Result<Overview, Failure> {
        match self {
            Self::Server(client) => post(client, name, "resume", &serde_json::json!({})).await,
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().resume(name, now()).await?),
        }
    }

    /// Approves a step.
    pub(super) async fn approve(&self, name: &str, wave: &str) -> Result<Overview, Failure> {
        match self {
            Self::Server(client) => post(client, name, "approve", &serde_json::json!({ "wave": wave })).await,
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().approve(name, wave, now()).await?),
        }
    }

    /// Tells why a device is where it is.
    pub(super) async fn explain(
        &self,
        name: &str,
        thing: &ThingName,
        facts: &PayloadFacts,
    ) -> Result<Explained, Failure> {
        match self {
            Self::Server(client) => {
                let mut query = format!("metered={}", facts.metered);
                if let Some(base) = facts.base {
                    query += &format!("&base={base}");
                }
                if let Some(ram) = facts.decoder_ram {
                    query += &format!("&decoder_ram={ram}");
                }
                Ok(client.get(&format!("/v1/rollouts/{}/explain/{thing}?{query}", path_part(name)?)).await?)
            }
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => Ok(cloud.rollouts().explain(name, thing, facts).await?),
        }
    }

    /// Carries rollouts on, all of them when none is named; tells whether any of them is not over. A server does that by
    /// itself.
    #[cfg_attr(not(feature = "aws"), allow(unused_variables, clippy::unused_async))]
    pub(super) async fn carry_on(&self, names: &[String]) -> Result<bool, Failure> {
        match self {
            Self::Server(_) => Ok(true),
            #[cfg(feature = "aws")]
            Self::Cloud(cloud) => {
                let rollouts = cloud.rollouts();
                let names = if names.is_empty() { rollouts.names().await? } else { names.to_vec() };
                let (mut open, mut first) = (false, None);
                for name in names {
                    // One rollout that can't be carried on keeps no other one waiting.
                    match rollouts.carry_on(&name, now()).await {
                        Ok(over) => open |= !over,
                        Err(error) => {
                            open = true;
                            first.get_or_insert(error);
                        }
                    }
                }
                first.map_or(Ok(open), |error| Err(error.into()))
            }
        }
    }
}

async fn get<T: DeserializeOwned>(client: &Client, name: &str) -> Result<T, Failure> {
    Ok(client.get(&format!("/v1/rollouts/{}", path_part(name)?)).await?)
}

async fn post(client: &Client, name: &str, act: &str, body: &serde_json::Value) -> Result<Overview, Failure> {
    Ok(client.post(&format!("/v1/rollouts/{}/{act}", path_part(name)?), body).await?)
}

/// A name that goes into a path as it is.
fn path_part(name: &str) -> Result<&str, Failure> {
    match name.parse::<sealift_jobs::JobId>() {
        Ok(_) => Ok(name),
        Err(_) => Err(Failure::new(super::USAGE, format!("no rollout is called {name:?}"))),
    }
}
