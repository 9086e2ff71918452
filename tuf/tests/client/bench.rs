//! A client, its directory and the server it talks to.

use std::path::PathBuf;
use std::time::Duration;

use sealift_tuf::http::{HttpFetcher, Timeouts};
use sealift_tuf::{Clock, Config, DirStore, Error, Locations, Updater};

use crate::repo::{NOW, Repo};
use crate::server::Server;

pub(crate) type Client = Updater<HttpFetcher, DirStore>;

pub(crate) struct Bench {
    pub(crate) repo: Repo,
    pub(crate) server: Server,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: Config,
}

impl Bench {
    /// A client that was provisioned with the first root of `repo`.
    pub(crate) fn new(repo: Repo) -> Self {
        let server = Server::start(&repo.files);
        let bench = Bench {
            repo,
            server,
            dir: tempfile::tempdir().unwrap(),
            config: Config { clock: Clock::At(NOW), ..Config::default() },
        };
        bench.init(&bench.repo.first_root()).unwrap();
        bench
    }

    pub(crate) fn init(&self, root: &[u8]) -> Result<(), Error> {
        Client::initialise(&mut DirStore::open(self.trust()).unwrap(), root, &self.config)
    }

    pub(crate) fn trust(&self) -> PathBuf {
        self.dir.path().join("trust")
    }
    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) fn fetcher() -> HttpFetcher {
        let stall = Duration::from_millis(1500);
        HttpFetcher::new(Timeouts { connect: stall, stall }).unwrap()
    }

    pub(crate) fn locations(&self) -> Locations {
        Locations::metadata(&self.server.metadata()).with_targets(&self.server.targets())
    }

    /// The client, as a process that starts anew would have it.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        Client::in_dir(&self.trust(), Self::fetcher(), self.locations(), self.config)
    }

    pub(crate) fn refresh(&self) -> Result<(), Error> {
        self.client()?.refresh()
    }

    pub(crate) fn download(&self, path: &str) -> Result<Vec<u8>, Error> {
        let file = self.client()?.download(path, &self.out())?;
        Ok(std::fs::read(file).unwrap())
    }

    /// The stable code of the refusal that a refresh ends with.
    pub(crate) fn refusal(&self) -> u16 {
        code(&self.refresh().unwrap_err())
    }

    /// The version of a role that is kept.
    pub(crate) fn kept(&self, role: &str) -> Option<u64> {
        let bytes = std::fs::read(self.trust().join(format!("{role}.json"))).ok()?;
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        file["signed"]["version"].as_u64()
    }
}

/// The stable code of a refusal.
pub(crate) fn code(error: &Error) -> u16 {
    error.refusal().unwrap_or_else(|| panic!("no refusal: {error}")).code()
}
