//! The flash: a log of items, and the sequence number beside it. What is claimed is not known here.

use core::ops::Range;

use embedded_storage_async::nor_flash::{MultiwriteNorFlash, NorFlash};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};
use sequential_storage::queue::{QueueConfig, QueueStorage};

use crate::FlashError;
use crate::item::{Item, NewMessage};

/// How many sequence numbers are reserved at a time. A reset skips what was left of them: numbers never repeat, and
/// have gaps. What that means for a device stands on the [crate]'s page.
pub const RESERVED: u64 = 64;
/// Where the number is kept up to which numbers are reserved.
const RESERVED_KEY: u8 = 1;
/// The pages for it: the fewest that can be rewritten.
const META_PAGES: u32 = 2;

type Uncaching<K> = Cache<Uncached, Uncached, Uncached, K>;
pub(crate) type Queue<'f, F> = QueueStorage<&'f mut F, Uncaching<()>>;

/// The log. `ITEM` is the longest item it reads or writes.
#[derive(Debug)]
pub(crate) struct Log<F, const ITEM: usize> {
    flash: F,
    region: Range<u32>,
    next: u64,
    reserved: u64,
}

impl<F: MultiwriteNorFlash, const ITEM: usize> Log<F, ITEM> {
    #[allow(clippy::cast_possible_truncation, reason = "offsets in flash are of 32 bits")]
    const PAGE: u32 = F::ERASE_SIZE as u32;
    /// Refused when it is compiled: see the crate's page.
    const CHECKED: () = assert!(
        F::WRITE_SIZE >= 4,
        "flash words of less than 4 bytes can lose messages"
    );

    /// Opens what is there; an erased region is an empty log.
    pub(crate) async fn open(flash: F, region: Range<u32>) -> Result<Self, FlashError<F::Error>> {
        let () = Self::CHECKED;
        let page = Self::PAGE;
        let whole = region.start.is_multiple_of(page) && region.end.is_multiple_of(page);
        if !whole || region.end.saturating_sub(region.start) / page < 2 * META_PAGES {
            let (from, to) = (region.start, region.end);
            return Err(FlashError::Region {
                from,
                to,
                page: F::ERASE_SIZE,
            });
        }
        let mut log = Self {
            flash,
            region,
            next: 1,
            reserved: 1,
        };
        log.recover().await?;
        Ok(log)
    }

    /// Erases the region.
    pub(crate) async fn format(mut flash: F, region: Range<u32>) -> Result<(), FlashError<F::Error>> {
        flash
            .erase(region.start, region.end)
            .await
            .map_err(FlashError::Flash)
    }

    pub(crate) fn into_flash(self) -> F {
        self.flash
    }

    /// Writes a message behind all others; its sequence number.
    pub(crate) async fn push(&mut self, message: &NewMessage<'_>) -> Result<u64, FlashError<F::Error>> {
        message.check()?;
        let too_long = FlashError::TooLong {
            len: message.len(),
            limit: ITEM.min(longest::<F>()),
        };
        if message.len() > ITEM.min(longest::<F>()) {
            return Err(too_long);
        }
        let sequence = self.next;
        if sequence >= self.reserved {
            self.reserve(sequence.saturating_add(RESERVED)).await?;
        }
        let item = message.encode::<ITEM>(sequence).ok_or(too_long)?;
        // Used up even if the write fails: it may have got through.
        self.next = sequence.saturating_add(1);
        self.queue()
            .push(&item, false)
            .await
            .map_err(|error| FlashError::of(error, ITEM))?;
        Ok(sequence)
    }

    /// The messages, oldest first, for reading and taking out.
    pub(crate) fn queue(&mut self) -> Queue<'_, F> {
        let pages = Self::PAGE.saturating_mul(META_PAGES);
        let region = self.region.start.saturating_add(pages)..self.region.end;
        QueueStorage::new(&mut self.flash, QueueConfig::new(region), Cache::new_uncached())
    }

    /// Finds the next sequence number.
    async fn recover(&mut self) -> Result<(), FlashError<F::Error>> {
        let mut buffer = [0; 32];
        let reserved = self
            .meta()
            .fetch_item::<u64>(&mut buffer, &RESERVED_KEY)
            .await
            .map_err(|error| FlashError::of(error, ITEM))?;
        let mut next = reserved.unwrap_or(1);
        let mut buffer = [0; ITEM];
        let mut queue = self.queue();
        let mut items = queue.iter().await.map_err(|error| FlashError::of(error, ITEM))?;
        while let Some(bytes) = items
            .next(&mut buffer)
            .await
            .map_err(|error| FlashError::of(error, ITEM))?
        {
            let item = Item::decode(&bytes).ok_or(FlashError::Corrupted)?;
            next = next.max(item.sequence.saturating_add(1));
        }
        (self.next, self.reserved) = (next, next);
        Ok(())
    }

    async fn reserve(&mut self, reserved: u64) -> Result<(), FlashError<F::Error>> {
        let mut buffer = [0; 32];
        self.meta()
            .store_item(&mut buffer, &RESERVED_KEY, &reserved)
            .await
            .map_err(|error| FlashError::of(error, ITEM))?;
        self.reserved = reserved;
        Ok(())
    }

    fn meta(&mut self) -> MapStorage<u8, &mut F, Uncaching<u8>> {
        let end = self
            .region
            .start
            .saturating_add(Self::PAGE.saturating_mul(META_PAGES));
        let region = self.region.start..end;
        MapStorage::new(&mut self.flash, MapConfig::new(region), Cache::new_uncached())
    }
}

/// The longest item that a page holds: without its two marks and the item header, in whole words.
const fn longest<F: NorFlash>() -> usize {
    let word = if F::WRITE_SIZE > F::READ_SIZE {
        F::WRITE_SIZE
    } else {
        F::READ_SIZE
    };
    let header = 8_usize.next_multiple_of(word);
    F::ERASE_SIZE.saturating_sub(2 * word + header)
}
