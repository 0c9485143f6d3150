//! Makes a backup.

use std::{collections::BTreeMap, io};

use super::{
    BackupError, Lock, Progress,
    format::{FORMAT, Header, Line, TableHead, Trailer, hex},
    lines::Writer,
};
use crate::{
    keyring::record::Time,
    seal::{Keychain, mac_of_backup},
    store::{BackupTable, Database, Reading},
};

/// Rows of a page: as many as fit into memory if each holds the longest value that there is.
const PAGE_ROWS: u64 = 128;

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Of what.
    pub header: Header,
    /// Its end.
    pub trailer: Trailer,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What is being written, and where to.
struct Making<'a, W> {
    reading: &'a Reading,
    keychain: &'a Keychain,
    writer: Writer,
    outlet: &'a mut W,
    made: u64,
    total: u64,
    bytes: u64,
    trailer: Trailer,
}

/// Reads the database as it is now and hands the encrypted bytes out, in order, a page's worth at a time.
///
/// # Errors
/// See [`BackupError`]. What was handed out until then is no backup.
pub async fn make<W>(
    (database, keychain): (&Database, &Keychain),
    (lock, release, now): (&Lock, &str, Time),
    outlet: &mut W,
    progress: Progress<'_>,
) -> Result<Made, BackupError>
where
    W: AsyncFnMut(Vec<u8>) -> io::Result<()>,
{
    let writer = Writer::new(lock)?;
    let reading = database.begin_reading(keychain).await?;
    if reading.restored.as_ref().is_some_and(|restored| !restored.complete) {
        return Err(BackupError::Unfinished);
    }
    let tables: BTreeMap<String, u64> =
        reading.counts.iter().map(|(table, count)| (table.name().to_owned(), *count)).collect();
    let header = Header {
        format: FORMAT,
        release: release.to_owned(),
        deployment: keychain.deployment(),
        incarnation: reading.position.epoch.incarnation(),
        epoch: reading.position.epoch,
        schema: reading.schema.clone(),
        made_at: now,
        tables,
    };
    let empty = Trailer {
        tables: BTreeMap::new(),
        damaged: BTreeMap::new(),
        sha256: String::new(),
        mac: String::new(),
    };
    let total = reading.counts.iter().map(|(_, count)| count).sum();
    let mut making =
        Making { reading: &reading, keychain, writer, outlet, made: 0, total, bytes: 0, trailer: empty };
    making.writer.write(&Line::Backup(header.clone()))?;
    for table in BackupTable::ALL {
        making.table(*table, progress).await?;
    }
    let (rows, trailer, bytes) = making.finish().await?;
    reading.end().await?;
    Ok(Made { header, trailer, rows, bytes })
}

impl<W: AsyncFnMut(Vec<u8>) -> io::Result<()>> Making<'_, W> {
    async fn table(&mut self, table: BackupTable, progress: Progress<'_>) -> Result<(), BackupError> {
        let columns = table.columns().into_iter().map(str::to_owned).collect();
        self.writer.write(&Line::Table(TableHead { name: table.name().to_owned(), columns }))?;
        let (mut after, mut rows, mut damaged) = (None, 0_u64, 0);
        loop {
            progress(table.name(), self.made, self.total);
            let asked = (after.as_deref(), PAGE_ROWS);
            let (page, last) = self.reading.page(self.keychain, table, asked).await?;
            let count = u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
            damaged += page.damaged;
            for row in page.rows {
                self.writer.write(&Line::Row(row))?;
            }
            (rows, self.made) = (rows + count, self.made + count);
            self.hand_out().await?;
            if count < PAGE_ROWS {
                break;
            }
            after = last;
        }
        self.trailer.tables.insert(table.name().to_owned(), rows);
        if damaged > 0 {
            tracing::error!(
                table = table.name(),
                rows = damaged,
                "rows were changed outside the service; the backup holds them as they are"
            );
            self.trailer.damaged.insert(table.name().to_owned(), damaged);
        }
        Ok(())
    }

    async fn hand_out(&mut self) -> Result<(), BackupError> {
        let bytes = self.writer.take();
        if !bytes.is_empty() {
            self.bytes += u64::try_from(bytes.len()).unwrap_or(0);
            (self.outlet)(bytes).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(u64, Trailer, u64), BackupError> {
        let hash = self.writer.hash();
        self.trailer.sha256 = hex(&hash);
        self.trailer.mac = hex(&mac_of_backup(self.keychain, &hash));
        self.writer.write(&Line::Trailer(self.trailer.clone()))?;
        let rest = self.writer.finish()?;
        self.bytes += u64::try_from(rest.len()).unwrap_or(0);
        (self.outlet)(rest).await?;
        Ok((self.made, self.trailer, self.bytes))
    }
}
