//! The region of a request: one of the platform's location hints, or `home` when the deployment has one region only.

use core::fmt;

/// A region of Brokers. Its text is part of the names of Brokers and pools and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokerRegion {
    /// The only region of a deployment without regions.
    Home,
    /// Western North America.
    Wnam,
    /// Eastern North America.
    Enam,
    /// South America.
    Sam,
    /// Western Europe.
    Weur,
    /// Eastern Europe.
    Eeur,
    /// Asia and Pacific.
    Apac,
    /// Oceania.
    Oc,
    /// Africa.
    Afr,
    /// Middle East.
    Me,
}

use BrokerRegion::{Afr, Apac, Eeur, Enam, Home, Me, Oc, Sam, Weur, Wnam};

impl BrokerRegion {
    /// All that stand for a location hint.
    pub const HINTS: [Self; 9] = [Wnam, Enam, Sam, Weur, Eeur, Apac, Oc, Afr, Me];

    /// The text in names of objects: `broker/{region}/{index}`, `pool/{region}`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Home => "home",
            Wnam => "wnam",
            Enam => "enam",
            Sam => "sam",
            Weur => "weur",
            Eeur => "eeur",
            Apac => "apac",
            Oc => "oc",
            Afr => "afr",
            Me => "me",
        }
    }

    /// The `locationHint` to open the region's pool and Brokers with; `home` has none of its own and is opened with
    /// the deployment's `HOME_REGION`, if that is set.
    ///
    /// The first call that opens an object places it for ever, so every opening has to give the hint.
    #[must_use]
    pub const fn location_hint(self) -> Option<&'static str> {
        match self {
            Home => None,
            hinted => Some(hinted.as_str()),
        }
    }

    /// The region of a location hint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::HINTS.into_iter().find(|region| region.as_str() == text)
    }

    /// The others, nearest first by the sea cables rather than by the map.
    const fn neighbours(self) -> [Self; 8] {
        match self {
            Home | Enam => [Wnam, Weur, Sam, Eeur, Afr, Me, Apac, Oc],
            Wnam => [Enam, Apac, Sam, Oc, Weur, Eeur, Me, Afr],
            Sam => [Enam, Wnam, Weur, Eeur, Afr, Me, Oc, Apac],
            Weur => [Eeur, Enam, Me, Afr, Wnam, Sam, Apac, Oc],
            Eeur => [Weur, Me, Enam, Afr, Apac, Wnam, Sam, Oc],
            Apac => [Oc, Wnam, Me, Eeur, Weur, Enam, Afr, Sam],
            Oc => [Apac, Wnam, Enam, Me, Weur, Eeur, Sam, Afr],
            Afr => [Weur, Eeur, Me, Enam, Apac, Wnam, Sam, Oc],
            Me => [Eeur, Weur, Apac, Afr, Enam, Wnam, Oc, Sam],
        }
    }
}

impl fmt::Display for BrokerRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a request comes from, as the platform's `request.cf` says; any of it may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Origin<'a> {
    /// Two letters: AF, AN, AS, EU, NA, OC, SA.
    pub continent: Option<&'a str>,
    /// ISO 3166-1, two letters.
    pub country: Option<&'a str>,
    /// In degrees, east positive.
    pub longitude: Option<f64>,
}

/// Asian and African countries whose cables meet in the Gulf and the Levant.
const MIDDLE_EAST: [&str; 15] =
    ["AE", "BH", "EG", "IL", "IQ", "IR", "JO", "KW", "LB", "OM", "PS", "QA", "SA", "SY", "YE"];
/// European countries east of the Oder and the Adriatic, and those that geography counts as Asia.
const EASTERN_EUROPE: [&str; 26] = [
    "AL", "AM", "AZ", "BA", "BG", "BY", "CY", "CZ", "EE", "GE", "GR", "HR", "HU", "LT", "LV", "MD", "ME", "MK", "PL",
    "RO", "RS", "RU", "SK", "TR", "UA", "XK",
];
/// The line between the two regions of North America, in degrees: Denver is western, Dallas eastern.
const NORTH_AMERICA_DIVIDE: f64 = -100.0;

/// The location hint nearest to a request; `None` when nothing is known of it, as with Tor.
#[must_use]
pub fn hint_of(origin: &Origin<'_>) -> Option<BrokerRegion> {
    let country = origin.country.unwrap_or_default();
    if MIDDLE_EAST.contains(&country) {
        return Some(Me);
    }
    if EASTERN_EUROPE.contains(&country) {
        return Some(Eeur);
    }
    match origin.continent? {
        "AF" => Some(Afr),
        "AS" => Some(Apac),
        "EU" => Some(Weur),
        "NA" if origin.longitude.is_some_and(|degrees| degrees < NORTH_AMERICA_DIVIDE) => Some(Wnam),
        "NA" => Some(Enam),
        "OC" | "AN" => Some(Oc),
        "SA" => Some(Sam),
        _ => None,
    }
}

/// The regions of a deployment, from the setting `REGIONS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    /// Empty: `home` only.
    hints: Vec<BrokerRegion>,
}

/// `REGIONS` makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("REGIONS must be `home`, `all` or a list of location hints, not {0:?}")]
pub struct RegionsError(String);

impl Regions {
    /// One region, `home`.
    pub const HOME: Self = Self { hints: Vec::new() };

    /// Reads the setting: `home`, `all`, or location hints with commas between them. The first is where requests go
    /// whose origin is unknown.
    ///
    /// # Errors
    /// [`RegionsError`] with the part that is no location hint.
    pub fn parse(setting: &str) -> Result<Self, RegionsError> {
        match setting.trim() {
            "home" => return Ok(Self::HOME),
            "all" => return Ok(Self { hints: BrokerRegion::HINTS.to_vec() }),
            _ => {}
        }
        let mut hints = Vec::new();
        for part in setting.split(',').map(str::trim) {
            let region = BrokerRegion::parse(part).ok_or_else(|| RegionsError(part.to_owned()))?;
            if !hints.contains(&region) {
                hints.push(region);
            }
        }
        Ok(Self { hints })
    }

    /// All regions, each with a pool of its own.
    pub fn all(&self) -> impl Iterator<Item = BrokerRegion> + '_ {
        self.hints.is_empty().then_some(Home).into_iter().chain(self.hints.iter().copied())
    }

    /// The region for a request: the nearest that the deployment has.
    #[must_use]
    pub fn region_of(&self, origin: &Origin<'_>) -> BrokerRegion {
        let Some(first) = self.hints.first() else { return Home };
        let Some(nearest) = hint_of(origin) else { return *first };
        core::iter::once(nearest)
            .chain(nearest.neighbours())
            .find(|region| self.hints.contains(region))
            .unwrap_or(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn from(continent: &'static str, country: &'static str, longitude: f64) -> Origin<'static> {
        Origin { continent: Some(continent), country: Some(country), longitude: Some(longitude) }
    }

    #[test]
    fn requests_go_to_the_hint_of_their_part_of_the_world() {
        for (origin, hint) in [
            (from("NA", "US", -122.4), Some(Wnam)),
            (from("NA", "US", -74.0), Some(Enam)),
            (Origin { continent: Some("NA"), ..Origin::default() }, Some(Enam)),
            (from("SA", "BR", -46.6), Some(Sam)),
            (from("EU", "DE", 8.7), Some(Weur)),
            (from("EU", "PL", 21.0), Some(Eeur)),
            (from("AS", "TR", 29.0), Some(Eeur)),
            (from("AS", "AE", 55.3), Some(Me)),
            (from("AF", "EG", 31.2), Some(Me)),
            (from("AF", "KE", 36.8), Some(Afr)),
            (from("AS", "JP", 139.7), Some(Apac)),
            (from("OC", "AU", 151.2), Some(Oc)),
            (from("AN", "AQ", 0.0), Some(Oc)),
            (from("T1", "T1", 0.0), None),
            (Origin::default(), None),
        ] {
            assert_eq!(hint_of(&origin), hint, "{origin:?}");
        }
    }

    #[test]
    fn a_deployment_without_regions_has_only_home() {
        let regions = Regions::parse("home").unwrap();
        assert_eq!(regions.region_of(&from("AS", "JP", 139.7)), Home);
        assert_eq!(regions.all().collect::<Vec<_>>(), [Home]);
        assert_eq!((Home.as_str(), Home.location_hint()), ("home", None));
        assert_eq!((Weur.as_str(), Weur.location_hint()), ("weur", Some("weur")));
    }

    #[test]
    fn a_region_that_is_off_is_served_by_the_nearest_that_is_on() {
        let regions = Regions::parse("weur, enam,weur").unwrap();
        assert_eq!(regions.all().collect::<Vec<_>>(), [Weur, Enam]);
        for (origin, region) in [
            (from("NA", "US", -122.4), Enam),
            (from("EU", "PL", 21.0), Weur),
            (from("AF", "KE", 36.8), Weur),
            (from("SA", "BR", -46.6), Enam),
            (from("AS", "AE", 55.3), Weur),
            (Origin::default(), Weur),
        ] {
            assert_eq!(regions.region_of(&origin), region, "{origin:?}");
        }
    }

    #[test]
    fn settings_that_are_no_hints_are_refused() {
        for setting in ["", "home,weur", "us-east-1", "weur,,enam", "WEUR"] {
            assert!(Regions::parse(setting).is_err(), "{setting:?}");
        }
        assert_eq!(Regions::parse("all").unwrap().all().count(), 9);
    }

    #[test]
    fn neighbours_are_all_the_others() {
        for region in BrokerRegion::HINTS {
            let mut seen: BTreeSet<BrokerRegion> = region.neighbours().into_iter().collect();
            seen.insert(region);
            assert_eq!(seen, BrokerRegion::HINTS.into_iter().collect(), "{region}");
        }
    }
}
