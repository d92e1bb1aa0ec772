"""What goes into sales-playbook and what each of its stages writes."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field

from stagebook import Key

Role = Literal["vendor", "prospect"]


def normalise(domain: str) -> str:
    """Write a domain in one form: `https://`, no `www.`, lower case."""
    address = domain.strip().lower()
    parts = urlsplit(address if "://" in address else f"https://{address}")
    return f"https://{parts.netloc.removeprefix('www.')}"


Domain = Annotated[str, BeforeValidator(normalise)]


class Domains(BaseModel):
    """Who sells and who is to buy."""

    vendor_domain: Domain
    prospect_domain: Domain


class Side(BaseModel):
    """One of the two."""

    role: Annotated[Role, Key]
    domain: Domain


class SiteMap(BaseModel):
    """Phase 1.1: a domain that answers, and its pages."""

    domain: str
    urls: list[str] = Field(max_length=5000)
    total_urls: int = Field(ge=0)


class HomePage(BaseModel):
    """Phase 1.2: the home page."""

    markdown: str
    html: str
    metadata: dict[str, str] = {}


class HomepageAnalysis(BaseModel):
    """Phase 1.3: what the home page says."""

    homepage_analysis: str = Field(min_length=100)


class SelectedUrl(BaseModel):
    """A page worth reading."""

    url: str
    priority_score: int = Field(ge=0, le=100)
    reasoning: str
    category: str


class SelectedUrls(BaseModel):
    """Phase 1.4: the pages of both domains to be read."""

    vendor: list[SelectedUrl] = Field(min_length=10, max_length=15)
    prospect: list[SelectedUrl] = Field(min_length=10, max_length=15)


class PageToRead(BaseModel):
    """A page of either domain, within the cap."""

    url: Annotated[str, Key]
    role: Role
    page_type: str


class ReadPage(BaseModel):
    """Its text."""

    url: str
    markdown: str


class SiteContent(BaseModel):
    """Phase 1.5: everything that could be read, of both domains."""

    vendor: dict[str, str]
    """Markdown by address."""
    prospect: dict[str, str]
    failed_urls: list[str] = []
    stats: dict[str, int] = {}


class Source(BaseModel):
    """Where an entry was found."""

    url: str
    page_type: str | None = None
    excerpt: str | None = None


class Entry(BaseModel):
    """Something found on the vendor's site."""

    name: str
    description: str
    source: Source


class Offerings(BaseModel):
    """What the vendor sells."""

    offerings: list[Entry]


class CaseStudies(BaseModel):
    """Whom it helped."""

    case_studies: list[Entry]


class ProofPoints(BaseModel):
    """Numbers and awards."""

    proof_points: list[Entry]


class ValuePropositions(BaseModel):
    """Why to buy."""

    value_propositions: list[Entry]


class ReferenceCustomers(BaseModel):
    """Who bought."""

    reference_customers: list[Entry]


class UseCases(BaseModel):
    """What for."""

    use_cases: list[Entry]


class IcpPersonas(BaseModel):
    """Whom the vendor sells to."""

    icp_personas: list[Entry]


class Differentiators(BaseModel):
    """What others do not have."""

    differentiators: list[Entry]


class CompanyProfile(BaseModel):
    """The prospect."""

    name: str
    industry: str
    size: str | None = None
    summary: str


class PainPoint(BaseModel):
    """What hurts them."""

    name: str
    description: str
    severity: Literal["high", "medium", "low"] = "medium"


class PainPoints(BaseModel):
    """All that hurts them."""

    pain_points: list[PainPoint]


class BuyerPersona(BaseModel):
    """Somebody at the prospect who could buy."""

    name: str
    title: str
    priorities: list[str] = []
    pain_points: list[str] = []


class BuyerPersonas(BaseModel):
    """Who could buy."""

    target_buyer_personas: list[BuyerPersona] = Field(min_length=3, max_length=5)


class PlaybookSummary(BaseModel):
    """8a."""

    executive_summary: str
    priority_personas: list[str]
    quick_wins: list[str]
    success_metrics: list[str]


class Touch(BaseModel):
    """One e-mail of a sequence."""

    day: Literal[1, 3, 7, 14]
    subject: str
    body: str


class EmailSequence(BaseModel):
    """The e-mails to one persona."""

    persona: str
    touches: list[Touch] = Field(min_length=4, max_length=4)


class EmailSequences(BaseModel):
    """8b."""

    email_sequences: list[EmailSequence] = Field(max_length=3)


class TalkTrack(BaseModel):
    """What to say to one persona."""

    persona: str
    opening: str
    questions: list[str] = []
    objections: list[str] = []


class TalkTracks(BaseModel):
    """8c."""

    talk_tracks: list[TalkTrack] = Field(max_length=3)


class BattleCard(BaseModel):
    """What to say against a competitor or an objection."""

    title: str
    situation: str
    response: str


class BattleCards(BaseModel):
    """8d."""

    battle_cards: list[BattleCard]


class SalesPlaybook(BaseModel):
    """8e: everything, in one."""

    summary: PlaybookSummary
    email_sequences: list[EmailSequence]
    talk_tracks: list[TalkTrack]
    battle_cards: list[BattleCard]
    unmatched_personas: list[str] = []
    """Personas that one agent named and no other knows."""
