import { type Contract } from 'fabric-contract-api';
import { Offers } from './offers';

export { Offers } from './offers';
export const contracts: (typeof Contract)[] = [Offers];
