Èš•@Ÿ«›éÞOÐü×Özry‰0T7=9R={NdÖKMI/baIj÷½“ï¼ÄCN@wÎªÉÆ]ùmP
