import { type Contract } from 'fabric-contract-api';
import { Evidence } from './evidence';

export { Evidence } from './evidence';
export const contracts: (typeof Contract)[] = [Evidence];
