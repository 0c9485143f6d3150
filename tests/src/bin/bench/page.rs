//! The pages that a run writes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::settings::Settings;

/// A page with places to fill, `{{name}}` each.
pub(crate) struct Page {
    name: &'static str,
    template: &'static str,
}

/// Figures of one machine.
pub(crate) const BENCHMARKS: Page =
    Page { name: "benchmarks.md", template: include_str!("templates/benchmarks.md") };
/// Figures of clusters.
pub(crate) const CLUSTER: Page =
    Page { name: "cluster-figures.md", template: include_str!("templates/cluster-figures.md") };

impl Page {
    /// Writes the page into `docs`, or beside what was built when the run was too short to be published.
    pub(crate) fn write(&self, settings: &Settings, parts: &[(&str, String)]) {
        let mut text = self.template.to_owned();
        for (name, part) in parts {
            text = text.replace(&format!("{{{{{name}}}}}"), part.trim_end());
        }
        assert!(!text.contains("{{"), "a place of {} is not filled", self.name);
        let file = folder(settings).join(self.name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        println!("written: {}", file.display());
    }
}

fn folder(settings: &Settings) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(if settings.is_whole() { "docs" } else { "target/bench" })
}
