//! Where the control socket is.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "control.sock";
/// A Unix socket's address holds 108 bytes, path and closing zero included.
const PATH_MAX: usize = 107;

/// Why the socket can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: can't {act} the control socket: {source}")]
pub struct SocketError {
    /// The socket.
    pub path: String,
    act: &'static str,
    /// Why.
    pub source: std::io::Error,
}

/// A path to the socket that fits an address, and what keeps it valid.
struct Place {
    path: PathBuf,
    _folder: Option<File>,
}

fn place(state: &Path) -> std::io::Result<Place> {
    let path = state.join(NAME);
    if path.as_os_str().len() <= PATH_MAX {
        return Ok(Place { path, _folder: None });
    }
    // Too long for an address: by way of the open folder it is short, whatever the folder is called.
    let folder = File::open(state)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
    Ok(Place { path, _folder: Some(folder) })
}

fn failed(state: &Path, act: &'static str) -> impl FnOnce(std::io::Error) -> SocketError {
    let path = state.join(NAME).display().to_string();
    move |source| SocketError { path, act, source }
}

/// Binds the socket in `state`. The caller holds the state directory's database, so a socket that is there already
/// belongs to a server that is gone.
///
/// # Errors
/// [`SocketError`].
pub fn listen(state: &Path) -> Result<UnixListener, SocketError> {
    let place = place(state).map_err(failed(state, "bind"))?;
    match std::fs::remove_file(&place.path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(state, "replace")(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&place.path).map_err(failed(state, "bind"))?;
    let only_owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&place.path, only_owner).map_err(failed(state, "protect"))?;
    Ok(listener)
}

/// Connects to the server that runs on `state`.
pub(super) async fn connect(state: &Path) -> Result<UnixStream, SocketError> {
    let place = place(state).map_err(failed(state, "find"))?;
    UnixStream::connect(&place.path).await.map_err(failed(state, "connect to"))
}
