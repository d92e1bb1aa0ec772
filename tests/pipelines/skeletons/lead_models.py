"""What goes into lead-dossier and what each of its stages writes."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue

from stagebook import Key, Text

ClaimType = Literal[
    "ENTITY", "SIGNAL", "OPPORTUNITY", "CONTACT", "LEAD_PROFILE", "CLIENT_SPECIFIC", "INSIGHT", "NETWORK"
]
SourceTier = Literal["GOV", "PRIMARY", "NEWS", "OTHER"]
Confidence = Literal["HIGH", "MEDIUM", "LOW"]


class Order(BaseModel):
    """A dossier that is ordered: the base input of every stage."""

    dossier_id: str
    current_date: str
    icp_config: JsonValue = None
    """Who is looked for: the ideal customer profile."""
    industry_research: JsonValue = None
    research_context: JsonValue = None
    client_specific_research: JsonValue = None
    seed_data: JsonValue = None


class Narrated(BaseModel):
    """What a research stage writes: running text, and beside it whatever the stage adds."""

    narrative: Text


class SearchPlan(BaseModel):
    """What is to be searched for."""

    queries: list[str] = Field(min_length=1, max_length=30)
    rationale: str


class Research(Narrated):
    """A research stage that writes nothing but its text."""


class LeadProfile(Narrated):
    """5A: the lead, enriched."""

    company_name: str
    domain: str | None = None


class Opportunity(Narrated):
    """5B: what could be sold."""

    needs: list[str] = []


class ClientSpecific(Narrated):
    """5C: what this client asked for especially."""

    answers: list[str] = []


class Insight(Narrated):
    """07B: what it all comes down to."""

    lead_score: int = Field(ge=0, le=100)
    timing_urgency: str
    score_explanation: str


class Claim(BaseModel):
    """One statement with where it comes from."""

    claim_id: str
    claim_type: ClaimType
    statement: str
    entities: list[str] = []
    date_in_claim: str | None = None
    source_url: str | None = None
    source_name: str | None = None
    source_tier: SourceTier
    confidence: Confidence
    context_preserved: str | None = None


class Claims(BaseModel):
    """The claims of one narrative."""

    claims: list[Claim]


class Patch(BaseModel):
    """One change to the list of all claims; claims are named `<step>.<claim_id>`."""

    action: Literal["merge", "merge_contact", "invalidate", "flag_conflict", "enhance"]
    claim_ids: list[str] = Field(min_length=1)
    keep_claim_id: str | None = None
    """Which one stays, for the two merges."""
    superseded_by: str | None = None
    """Why one is invalid."""
    add_metadata: dict[str, str] = {}
    """For `enhance`."""
    reason: str


class ClaimPatches(BaseModel):
    """What MERGE_CLAIMS answers: changes, not a rewritten list."""

    patches: list[Patch]


class MergedClaim(Claim):
    """A claim after merging."""

    id: str
    """`<step>.<claim_id>`."""
    invalidated: bool = False
    superseded_by: str | None = None
    conflicts_with: list[str] = []
    metadata: dict[str, str] = {}


class MergedClaims(BaseModel):
    """All claims, patched; what was merged away is gone, what is invalid stays and is marked."""

    claims: list[MergedClaim]
    applied: dict[str, int]
    """Patches applied, by action."""
    unknown: list[str]
    """Claims that a patch named and nobody made."""


class ContextPack(BaseModel):
    """The merged claims, told shortly."""

    text: Text


class ContactSketch(BaseModel):
    """A person worth writing to."""

    name: str
    title: str | None = None
    why: str


class ContactList(BaseModel):
    """6: who is enriched one by one."""

    contacts: list[ContactSketch]


class Contact(ContactSketch):
    """One of them, as an item."""

    contact_id: Annotated[str, Key]


class EnrichedContact(BaseModel):
    """6, individually."""

    name: str
    title: str | None = None
    email: str | None = None
    summary: str


class Copy(BaseModel):
    """What is written to a contact."""

    subject: str
    body: str


class Media(BaseModel):
    """8: pictures and logos for the dossier."""

    images: list[str] = []
    captions: list[str] = []


class DossierPlan(BaseModel):
    """9: what stands in which section."""

    sections: list[str]
    emphasis: str


class Section(BaseModel):
    """10: one written section."""

    text: Text


class Composed(BaseModel):
    """11: the dossier."""

    text: Text
