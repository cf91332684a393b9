import { Object, Property } from 'fabric-contract-api';

/** Something that has an owner. */
@Object()
export class Asset {
    @Property('ID', 'string')
    ID = '';

    @Property('Color', 'string')
    Color = '';

    @Property('Size', 'number')
    Size = 0;

    @Property('Owner', 'string')
    Owner = '';

    @Property('AppraisedValue', 'number')
    AppraisedValue = 0;
}
