//! A folder, served over HTTP on the loopback: what any web server or bucket does.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Serves `folder` until the process ends, and returns its URL.
pub(crate) fn serve(folder: &Path) -> url::Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(connection, folder));
        }
    });
    url
}

fn answer(connection: TcpStream, folder: PathBuf) {
    let mut lines = BufReader::new(&connection).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.find(String::is_empty);
    let path = request.strip_prefix("GET /").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    // tough asks for `~` as it is; a client may also escape it.
    let path = path.replace("%7E", "~").replace("%7e", "~");
    let found = if path.contains("..") { None } else { fs::read(folder.join(path)).ok() };
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = (&connection).write_all(head.as_bytes()).and_then(|()| (&connection).write_all(&body));
}
