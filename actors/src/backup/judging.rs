//! Reads a backup to its end before anybody writes: what it is of, whether all of it is there, whether it is the deployment's own word.

use std::{collections::BTreeMap, path::Path};

use claviger_crypto::digest;
use claviger_entity::tables::{change, data_key, ring_meta};
use serde_json::Value;

use super::{
    BackupError, Header, Opening, Progress, Trailer,
    format::{FORMAT, Line, TableHead, hex},
    lines::Reader,
};
use crate::{
    keyring::{Epoch, Position},
    seal::{Keychain, MasterKeys, SealError, mac_of_backup},
    store::{BackupTable, Database, StoreError, decode, open_keychain, position},
};

/// A backup that is whole.
pub struct Judged {
    /// Of what.
    pub header: Header,
    /// Its end.
    pub trailer: Trailer,
    /// Rows.
    pub rows: u64,
    /// Opens what is in it.
    pub keychain: Keychain,
    pub(super) meta: ring_meta::Model,
}

/// What one pass over a file does with it.
pub(super) trait Take {
    /// The rows of a table begin.
    fn table(&mut self, table: BackupTable, head: TableHead) -> Result<(), BackupError>;
    /// One of them.
    fn row(&mut self, table: BackupTable, values: Vec<Value>) -> Result<(), BackupError>;
}

/// The first line, and whether this release can read what follows.
pub(super) fn header(reader: &mut Reader) -> Result<Header, BackupError> {
    let Line::Backup(header) = reader.next()? else { return Err(BackupError::Damaged("it has no header")) };
    if header.format != FORMAT || !Database::knows_schema(&header.schema) {
        return Err(BackupError::Newer);
    }
    Ok(header)
}

/// Reads all lines behind the header, in order, and the trailer.
pub(super) struct Pass {
    pub(super) table: Option<BackupTable>,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) rows: u64,
    total: u64,
}

impl Pass {
    pub(super) fn new(header: &Header) -> Self {
        Self { table: None, counts: BTreeMap::new(), rows: 0, total: header.tables.values().sum() }
    }

    /// Takes in the next line; `Some` at the end.
    pub(super) fn step(
        &mut self,
        reader: &mut Reader,
        take: &mut impl Take,
        progress: Progress<'_>,
    ) -> Result<Option<Trailer>, BackupError> {
        match reader.next()? {
            Line::Backup(_) => Err(BackupError::Damaged("it has two headers")),
            Line::Table(head) => {
                let table = BackupTable::named(&head.name).ok_or(BackupError::Newer)?;
                if self.table.is_some_and(|before| before >= table) {
                    return Err(BackupError::Damaged("its tables are out of order"));
                }
                self.table = Some(table);
                self.counts.insert(head.name.clone(), 0);
                progress(table.name(), self.rows, self.total);
                take.table(table, head)?;
                Ok(None)
            }
            Line::Row(values) => {
                let table = self.table.ok_or(BackupError::Damaged("a row is of no table"))?;
                if let Some(count) = self.counts.get_mut(table.name()) {
                    *count += 1;
                }
                self.rows += 1;
                if self.rows.is_multiple_of(1_000) {
                    progress(table.name(), self.rows, self.total);
                }
                take.row(table, values)?;
                Ok(None)
            }
            Line::Trailer(trailer) => {
                if trailer.tables != self.counts || trailer.sha256 != hex(&reader.hash()) {
                    return Err(BackupError::Damaged("rows are missing"));
                }
                reader.end()?;
                progress("", self.rows, self.total);
                Ok(Some(trailer))
            }
        }
    }
}

/// Reads the file to its end.
///
/// # Errors
/// It does not open, was damaged or cut off, is of another deployment's making, or its master is not among those given.
pub fn judge(
    (path, opening): (&Path, &Opening),
    masters: &MasterKeys,
    progress: Progress<'_>,
) -> Result<Judged, BackupError> {
    let mut reader = Reader::open(path, opening)?;
    let header = header(&mut reader)?;
    let mut judging = Judging {
        masters,
        columns: Vec::new(),
        meta: None,
        data_keys: Vec::new(),
        keychain: None,
        damaged: BTreeMap::new(),
        last: None,
    };
    let mut pass = Pass::new(&header);
    let trailer = loop {
        if let Some(trailer) = pass.step(&mut reader, &mut judging, progress)? {
            break trailer;
        }
    };
    let hash = reader.hash();
    let Judging { keychain, meta, damaged, last, .. } = judging;
    let (keychain, meta) = keychain.zip(meta).ok_or(BackupError::Damaged("it holds no deployment"))?;
    if !digest::ct_eq(trailer.mac.as_bytes(), hex(&mac_of_backup(&keychain, &hash)).as_bytes()) {
        return Err(BackupError::Damaged("it was not made by its deployment"));
    }
    let here = position(&keychain, &meta)?;
    let is_of_header = header.epoch == here.epoch
        && header.deployment == keychain.deployment()
        && header.tables == trailer.tables
        && damaged == trailer.damaged;
    let is_up_to_here = here.epoch.counter() == 0 || last.is_some_and(|last| last == here);
    if !is_of_header || !is_up_to_here {
        return Err(BackupError::Damaged("its parts do not belong together"));
    }
    Ok(Judged { header, trailer, rows: pass.rows, keychain, meta })
}

struct Judging<'a> {
    masters: &'a MasterKeys,
    columns: Vec<String>,
    meta: Option<ring_meta::Model>,
    data_keys: Vec<data_key::Model>,
    keychain: Option<Keychain>,
    damaged: BTreeMap<String, u64>,
    /// Where the change log has come to.
    last: Option<Position>,
}

impl Judging<'_> {
    /// Once the keys of the deployment are read, they open, or nothing does.
    fn keychain(&mut self) -> Result<&Keychain, BackupError> {
        if self.keychain.is_none() {
            let meta = self.meta.as_ref().ok_or(BackupError::Damaged("it holds no deployment"))?;
            let keychain = open_keychain(self.masters, meta, &self.data_keys).map_err(|error| {
                if matches!(error, StoreError::Seal(SealError::WrongMaster)) {
                    BackupError::Master(SealError::WrongMaster)
                } else {
                    error.into()
                }
            })?;
            position(&keychain, meta)?;
            self.keychain = Some(keychain);
        }
        self.keychain.as_ref().ok_or(BackupError::Damaged("it holds no deployment"))
    }
}

impl Take for Judging<'_> {
    fn table(&mut self, _: BackupTable, head: TableHead) -> Result<(), BackupError> {
        self.columns = head.columns;
        Ok(())
    }

    fn row(&mut self, table: BackupTable, values: Vec<Value>) -> Result<(), BackupError> {
        let columns = std::mem::take(&mut self.columns);
        let judged = self.judge(table, &columns, &values);
        self.columns = columns;
        judged
    }
}

impl Judging<'_> {
    fn judge(&mut self, table: BackupTable, columns: &[String], values: &[Value]) -> Result<(), BackupError> {
        const UNREADABLE: BackupError = BackupError::Damaged("a row is not of its table");
        if table == BackupTable::RingMeta {
            let meta =
                decode::<ring_meta::Entity, ring_meta::ActiveModel>(columns, values).ok_or(UNREADABLE)?;
            return match self.meta.replace(meta) {
                None => Ok(()),
                Some(_) => Err(BackupError::Damaged("it holds two deployments")),
            };
        }
        if table == BackupTable::DataKeys {
            let row = decode::<data_key::Entity, data_key::ActiveModel>(columns, values).ok_or(UNREADABLE)?;
            self.data_keys.push(row);
            return Ok(());
        }
        if table == BackupTable::Changes {
            let line = decode::<change::Entity, change::ActiveModel>(columns, values).ok_or(UNREADABLE)?;
            self.follow(&line)?;
        }
        if !table.is_sound(self.keychain()?, columns, values).ok_or(UNREADABLE)? {
            *self.damaged.entry(table.name().to_owned()).or_default() += 1;
        }
        Ok(())
    }

    /// Each change continues the one before, across incarnations too: a restore goes on from what it found.
    fn follow(&mut self, line: &change::Model) -> Result<(), BackupError> {
        const GAP: BackupError = BackupError::Damaged("its change log has a gap");
        let head: [u8; 32] = line.head_hash.as_slice().try_into().map_err(|_| GAP)?;
        let epoch = Epoch(u64::try_from(line.epoch).map_err(|_| GAP)?);
        if let Some(before) = &self.last {
            let is_next = epoch > before.epoch && before.after(&line.record).head == head;
            let is_same = epoch == before.epoch && head == before.head && line.ordinal > 0;
            if !is_next && !is_same {
                return Err(GAP);
            }
        }
        self.last = Some(Position { epoch, head });
        Ok(())
    }
}
