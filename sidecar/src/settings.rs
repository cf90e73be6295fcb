//! The configuration as it is now: the file under the command line, looked at again and again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use synapse_config::problem::Problems;
use synapse_config::read::from_yaml;
use synapse_config::resolved::{Location, Settings, resolve};
use synapse_config::written::Config;

use crate::args::Args;

/// Where the configuration comes from.
pub(crate) struct Source {
    args: Args,
    seen: Option<Seen>,
    /// Whether the file has gone, and that was told.
    is_gone: bool,
}

/// What a look at the configuration found.
pub(crate) enum Look {
    /// The same as before.
    Same,
    /// Settings that are new, in whole or in part.
    New(Box<Changed>),
    /// Something that cannot be worked with; what was there before goes on.
    Wrong(Problems),
    /// The file was there, and is no more; what was there before goes on.
    Gone,
}

/// New settings.
pub(crate) struct Changed {
    pub(crate) settings: Settings,
    /// Whether a file that the settings name has new content: credentials or authorities were rotated.
    pub(crate) rotated: bool,
}

#[derive(PartialEq, Clone)]
struct Seen {
    file: Option<String>,
    secrets: Vec<(PathBuf, Option<Vec<u8>>)>,
}

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 2 << 20;

// === impl Source ===

impl Source {
    pub(crate) fn new(args: Args) -> Self {
        Self { args, seen: None, is_gone: false }
    }

    pub(crate) fn args(&self) -> &Args {
        &self.args
    }

    /// Reads everything; a short blocking operation. Every way in which it can be wrong is answered once, until
    /// something changes.
    pub(crate) fn look(&mut self) -> Look {
        let file = match self.args.config.as_deref().map(read_text).transpose() {
            Ok(file) => file.flatten(),
            Err(problems) => return self.wrong(Some(problems.to_string()), problems),
        };
        let before = self.seen.as_ref().and_then(|seen| seen.file.clone());
        let is_gone = file.is_none() && before.is_some();
        if is_gone && !std::mem::replace(&mut self.is_gone, is_gone) {
            return Look::Gone;
        }
        self.is_gone = is_gone;
        // A file that has gone stays in force, and so do the files that it names.
        let file = file.or(before);
        let written = match &file {
            None => Ok(Config::default()),
            Some(text) => from_yaml(text),
        };
        let resolved = written.and_then(|written| resolve(&self.args.laid_over(written)));
        let settings = match resolved {
            Ok(settings) => settings,
            Err(problems) => {
                return self.wrong(file, problems);
            }
        };
        let secrets = secrets(&settings);
        let before = self.seen.replace(Seen { file: file.clone(), secrets: secrets.clone() });
        match before {
            Some(before) if before.file == file && before.secrets == secrets => Look::Same,
            before => {
                let rotated = before.is_some_and(|before| before.secrets != secrets);
                Look::New(Box::new(Changed { settings, rotated }))
            }
        }
    }

    /// Problems are told once. The files that good settings named are remembered: they do not change by this.
    fn wrong(&mut self, file: Option<String>, problems: Problems) -> Look {
        let secrets = self.seen.as_ref().map(|seen| seen.secrets.clone()).unwrap_or_default();
        let seen = Seen { file, secrets };
        if self.seen.replace(seen.clone()).as_ref() == Some(&seen) {
            Look::Same
        } else {
            Look::Wrong(problems)
        }
    }
}

/// The file's text; `None` when there is no such file.
fn read_text(path: &Path) -> Result<Option<String>, Problems> {
    let wrong = |what: String| {
        let mut problems = Problems::default();
        problems.add("", format!("{}: {what}", path.display()));
        problems
    };
    match fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE => return Err(wrong(format!("larger than {MAX_FILE} bytes"))),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The files that the settings name, with their content.
fn secrets(settings: &Settings) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let Some(redis) = &settings.redis else { return Vec::new() };
    let url = match &redis.location {
        Location::File(path) => Some(path),
        Location::Url(_) => None,
    };
    let small = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.len() <= MAX_FILE);
    let content = |path: &PathBuf| small(path).then(|| fs::read(path).ok()).flatten();
    url.into_iter().chain(&redis.ca_file).map(|path| (path.clone(), content(path))).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_file_is_taken_up_kept_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, secret) = (dir.path().join("c.yaml"), dir.path().join("url"));
        let mut source = Source::new(Args::parse_from(["x".as_ref(), "--config".as_ref(), file.as_os_str()]));
        let Look::New(found) = source.look() else { panic!("defaults") };
        assert_eq!(found.settings.redis, None);
        assert!(matches!(source.look(), Look::Same));
        fs::write(&file, "memory: {capacity: 1}\nspeed: 3").unwrap();
        let Look::Wrong(problems) = source.look() else { panic!("wrong") };
        assert!(problems.to_string().contains("speed"));
        assert!(matches!(source.look(), Look::Same));
        fs::write(&file, format!("redis: {{urlFile: {}}}", secret.display())).unwrap();
        let Look::New(found) = source.look() else { panic!("new") };
        assert!(found.settings.redis.is_some());
        fs::write(&secret, "redis://a").unwrap();
        assert!(matches!(source.look(), Look::New(found) if found.rotated));
        assert!(matches!(source.look(), Look::Same));
        let text = fs::read(&file).unwrap();
        fs::write(&file, "speed: 3").unwrap();
        assert!(matches!(source.look(), Look::Wrong(_)));
        fs::write(&file, &text).unwrap();
        assert!(matches!(source.look(), Look::New(found) if !found.rotated));
        fs::remove_file(&file).unwrap();
        assert!(matches!(source.look(), Look::Gone));
        assert!(matches!(source.look(), Look::Same));
        fs::write(&secret, "redis://b").unwrap();
        let Look::New(found) = source.look() else { panic!("rotated") };
        assert!(found.rotated && found.settings.redis.is_some());
        assert!(matches!(source.look(), Look::Same));
        fs::write(&file, text).unwrap();
        assert!(matches!(source.look(), Look::Same));
        fs::remove_file(&file).unwrap();
        assert!(matches!(source.look(), Look::Gone));
    }
}
