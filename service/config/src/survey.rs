//! Everything about a configuration, for whoever must not stop at the first mistake.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{ConfigError, Layers, TrustedIssuer, settings::Judge};

/// What was given and what is wrong with it.
pub struct Survey {
    /// The last word on each setting, right or wrong.
    pub layers: Layers,
    /// Every mistake.
    pub problems: Vec<ConfigError>,
    /// Where the service would be and where its data is.
    pub outline: Outline,
}

/// What a diagnosis needs of the settings; a default stands in for what is wrong, so nothing may run with it.
#[derive(Debug, Clone)]
pub struct Outline {
    /// Where it would listen.
    pub listen: SocketAddr,
    /// Where it would answer whoever watches it, in clear.
    pub internal_listen: Option<SocketAddr>,
    /// It may do without TLS.
    pub plain_http: bool,
    /// With TLS.
    pub tls: bool,
    /// The SQLite file, if it is one.
    pub database: Option<PathBuf>,
    /// Where files of the node go.
    pub folder: PathBuf,
    /// Where audit records go.
    pub audit_dir: PathBuf,
    /// Issuers that would be trusted.
    pub issuers: Vec<TrustedIssuer>,
    /// Authorities that would be believed beside the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Merges and judges, as [`Settings::load`](crate::Settings::load) does, and goes on after a mistake.
pub fn survey(
    file: Option<&str>,
    environment: impl IntoIterator<Item = (String, String)>,
    read_file: impl Fn(&Path) -> io::Result<String>,
) -> Survey {
    let mut problems = Vec::new();
    let layers = Layers::merge(file, environment, &read_file, &mut problems);
    let _unfit = Judge { layers: &layers, problems: &mut problems }.settings(read_file);
    let mut known = Vec::new();
    let mut judge = Judge { layers: &layers, problems: &mut known };
    let database = judge.database();
    let outline = Outline {
        listen: judge.listen(),
        internal_listen: judge.internal_listen(),
        plain_http: judge.plain_http(),
        tls: judge.tls().is_some(),
        audit_dir: judge.audit_dir(&database),
        issuers: judge.issuers(),
        ca_file: judge.ca_file(),
        folder: database.folder().to_owned(),
        database: database.file().map(Path::to_owned),
    };
    Survey { layers, problems, outline }
}
