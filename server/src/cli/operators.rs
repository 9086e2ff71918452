//! `sealift-server operators`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{BAD_FILE, Common, Failure, output};
use crate::control::{OperatorView, Role};

/// Name, list and remove those who may use the control API from elsewhere.
#[derive(Debug, Subcommand)]
pub(super) enum Operators {
    /// Name an operator, known by a token or by his certificate.
    Add(Add),
    /// List them.
    List(List),
    /// End an operator's access, at once.
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server operators add ci --role operator --state ./state > ci.token && chmod 600 ci.token
  sealift-server operators add alice --role admin --certificate alice.pem --state ./state
  sealift-server rollout list --server https://updates.example.com:9443 --ca ca.pem --token-file ci.token

Roles: a viewer looks; an operator also rolls out, pauses, cancels, makes groups and jobs; an admin also lets devices in,
revokes them and names operators. A token is shown this once; the server keeps its SHA-256 alone. A certificate may be
signed by anybody, himself included: it is known by its fingerprint.")]
pub(super) struct Add {
    #[command(flatten)]
    common: Common,
    /// His name, in logs.
    name: String,
    /// What he may do.
    #[arg(long, value_enum)]
    role: Role,
    /// Known by this certificate (PEM) instead of a token.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Days his access lasts. [default: until he is removed]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    common: Common,
    /// His name.
    name: String,
}

impl Operators {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Add(add) => &add.common,
            Self::List(list) => &list.common,
            Self::Remove(remove) => &remove.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.common().client()?;
        match self {
            Self::Add(add) => {
                let certificate = add.certificate.as_ref().map(std::fs::read_to_string).transpose();
                let certificate = certificate.map_err(|e| Failure::new(BAD_FILE, format!("--certificate: {e}")))?;
                let body = serde_json::json!({
                    "name": add.name, "role": add.role, "certificate": certificate,
                    "seconds": add.days.map(|days| days * 24 * 3_600),
                });
                let named: serde_json::Value = client.post("/v1/operators", &body).await?;
                match named.get("token").and_then(|token| token.as_str()) {
                    _ if add.common.json => output::json(&named),
                    Some(token) => output::line(token),
                    None => output::line(&format!("{} is known by the certificate", add.name)),
                }
            }
            Self::List(list) => {
                let all: Vec<OperatorView> = client.get("/v1/operators").await?;
                if list.common.json {
                    output::json(&all);
                } else {
                    let rows: Vec<[String; 4]> = all
                        .iter()
                        .map(|operator| {
                            let end = operator.expires_at.map_or_else(|| "-".into(), output::time);
                            let role = format!("{:?}", operator.role).to_lowercase();
                            [operator.name.clone(), role, operator.by.clone(), end]
                        })
                        .collect();
                    output::table(["OPERATOR", "ROLE", "KNOWN BY", "ENDS"], &rows);
                }
            }
            Self::Remove(remove) => {
                let gone: serde_json::Value = client.delete(&format!("/v1/operators/{}", remove.name)).await?;
                if remove.common.json {
                    output::json(&gone);
                } else if gone["removed"] == true {
                    output::line(&format!("{} may no longer use the control API", remove.name));
                } else {
                    output::line(&format!("there is no operator called {}", remove.name));
                }
            }
        }
        Ok(())
    }
}
