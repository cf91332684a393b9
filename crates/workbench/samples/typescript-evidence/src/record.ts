import { Object, Property } from 'fabric-contract-api';

/** What a witness says of a deposit. */
@Object()
export class Attestation {
    @Property('witness', 'string')
    witness = '';

    @Property('time', 'string')
    time = '';

    @Property('statement', 'string')
    statement = '';
}

/** A deposited hash. */
@Object()
export class Deposit {
    @Property('hash', 'string')
    hash = '';

    @Property('kind', 'string')
    kind = '';

    @Property('note', 'string')
    note = '';

    @Property('owner', 'string')
    owner = '';

    @Property('time', 'string')
    time = '';

    /** Why it is revoked; empty while it is valid. */
    @Property('revoked', 'string')
    revoked = '';

    @Property('attestations', 'Array<Attestation>')
    attestations: Attestation[] = [];
}
